"""`argosy watch`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from uuid import UUID

import click

from commands import words
from commands.output import as_screen, columns, document, json_option, say, table_of
from commands.views import View, view

if TYPE_CHECKING:
    from argosy.info import Status

SHARE = 4
"""Looking takes at most one part in so many of the time, however much there is to look at."""


@click.command()
@click.option(
    "--interval",
    type=click.FloatRange(0.2),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option(
    "--limit", type=click.IntRange(1, 200), default=30, show_default=True, help="Most to show."
)
@click.option("--once", is_flag=True, help="Show what there is now, and end.")
@json_option
def watch(*, interval: float, limit: int, once: bool, as_json: bool) -> None:
    """Watch transfers on their way.

    A table that changes with them, until Ctrl-C; without a terminal, or with --json,
    a line for each change. With the fleet's own settings they are everybody's, out of
    the database; else the agent's own (for an admin: everybody's), among the newest 200.

    Example: argosy watch --interval 5
    """
    with view() as looks:
        if once:
            _show(looks.moving(limit), as_json=as_json)
        else:
            _follow(looks, limit, interval, as_json=as_json)


def _show(found: list[Status], *, as_json: bool) -> None:
    if as_json:
        for one in found:
            document(one.model_dump(mode="json"))
    else:
        columns(words.HEAD, [words.row(one) for one in found])


def _follow(looks: View, limit: int, interval: float, *, as_json: bool) -> None:
    known: dict[UUID, Status] = {}
    with as_screen(is_wanted=not as_json) as screen:
        while True:
            began = time.monotonic()
            found = looks.moving(limit)
            if screen:
                screen(table_of(words.HEAD, [words.row(one) for one in found]))
            else:
                known = _tell_changes(looks, known, found, as_json=as_json)
            took = time.monotonic() - began
            time.sleep(max(interval, SHARE * took))


def _tell_changes(
    looks: View, known: dict[UUID, Status], found: list[Status], *, as_json: bool
) -> dict[UUID, Status]:
    """A line for each that is new, changed or gone; returns what is known now."""
    now = {one.id: one for one in found}
    gone = [looks.status(transfer) for transfer in known.keys() - now.keys()]
    for one in (*gone, *found):
        if known.get(one.id) != one:
            if as_json:
                document(one.model_dump(mode="json"))
            else:
                say(words.line(one))
    return now
