"""`argosy usage`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from commands.account import client
from commands.output import document, json_option, say, size

if TYPE_CHECKING:
    from argosy.info import Usage


@click.command()
@json_option
def usage(*, as_json: bool) -> None:
    """Say what the agent takes up, and what it may.

    Bytes in Storage count with those that are on their way there and with what was made of the
    files; bytes of the day are those that were moved in the last 24 hours.

    Example: argosy usage
    """
    with client() as agent:
        found = agent.usage()
    if as_json:
        document(found.model_dump(mode="json"))
        return
    for name, told in _facts(found):
        say(f"{name:<9}{told}")


def _facts(found: Usage) -> list[tuple[str, str]]:
    rate = f"{size(found.rate)}/s" if found.rate is not None else "no limit"
    at_once = "its fair share" if found.at_once is None else f"{found.at_once} transfers"
    return [
        ("stored", _of(found.stored, found.stored_limit)),
        ("24 hours", _of(found.day, found.day_limit)),
        ("rate", rate),
        ("at once", f"{at_once}, weight {found.weight}"),
    ]


def _of(used: int, limit: int | None) -> str:
    return f"{size(used)}, no limit" if limit is None else f"{size(used)} of {size(limit)}"
