"""`argosy status`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import click

from commands import words
from commands.exits import Exit
from commands.output import as_screen, document, json_option, say
from commands.views import ENDED, View, view

if TYPE_CHECKING:
    from argosy.info import Status

INTERVAL_SECONDS = 1.0


@click.command()
@click.argument("transfer", metavar="ID", type=click.UUID)
@click.option("--watch", is_flag=True, help="Tell again until it has ended; 1 where it failed.")
@json_option
def status(*, transfer: UUID, watch: bool, as_json: bool) -> None:
    """Say where a transfer is, and why it waits.

    An agent sees its own transfers, an admin everybody's; with the fleet's own
    settings the database is asked, and no agent is needed.

    Example: argosy status 9a3c0f6e-8d3e-4d27-9f5b-0d5f3a1c2b4e --watch
    """
    with view() as looks:
        found = looks.status(transfer)
        if not watch:
            _tell(found, as_json=as_json)
            return
        last = _watch(_changes(looks, found), as_json=as_json)
    if last.state in ("failed", "cancelled"):
        raise click.exceptions.Exit(Exit.FAILED)


def _tell(found: Status, *, as_json: bool) -> None:
    if as_json:
        document(found.model_dump(mode="json"))
    else:
        say_all(words.account(found))


def say_all(lines: list[str]) -> None:
    """Several lines."""
    for line in lines:
        say(line)


def _changes(looks: View, found: Status) -> Iterator[Status]:
    """The transfer at first, and whenever it is another than before, until it has ended."""
    yield found
    while found.state not in ENDED:
        time.sleep(INTERVAL_SECONDS)
        before, found = found, looks.status(found.id)
        if found != before:
            yield found


def _watch(changes: Iterator[Status], *, as_json: bool) -> Status:
    found = next(changes)
    with as_screen(is_wanted=not as_json) as screen:
        while True:
            if screen:
                screen("\n".join(words.account(found)))
            elif as_json:
                document(found.model_dump(mode="json"))
            else:
                say(words.line(found))
            following = next(changes, None)
            if following is None:
                return found
            found = following
