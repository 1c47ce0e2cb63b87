"""`argosy rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from argosy.errors import Error
from commands import mistakes, refs
from commands.account import client
from commands.exits import Exit, exit_of, exit_of_all
from commands.kinds import Ref
from commands.output import document, json_option, say

if TYPE_CHECKING:
    from argosy.client import Client


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="REF...", type=Ref())
@json_option
def rm(*, names: tuple[str, ...], as_json: bool) -> None:
    """Delete files.

    Each goes with every grant on it. A REF is as for download; JSON may name many. One
    that fails does not keep the others.

    Example: argosy rm agent-transfers/6f.../9a.../report.bin
    """
    with client() as agent:
        codes = [code for ref in names for code in _delete_all(agent, ref, as_json=as_json)]
    if code := exit_of_all(codes):
        raise click.exceptions.Exit(code)


def _delete_all(agent: Client, ref: str, *, as_json: bool) -> list[int]:
    try:
        found = list(refs.all_of(agent, ref))
    except Error as error:
        return [_told(error, ref, as_json=as_json)]
    return [_delete(agent, one, as_json=as_json) for one in found]


def _delete(agent: Client, found: refs.Found, *, as_json: bool) -> int:
    place = refs.place(found)
    try:
        agent.delete_file(found)
    except Error as error:
        return _told(error, place, as_json=as_json)
    if as_json:
        document({"deleted": place})
    else:
        say(f"deleted {place}")
    return Exit.DONE


def _told(error: Error, about: str, *, as_json: bool) -> int:
    if mistake := mistakes.explain(error):
        mistake.tell(as_json=as_json, about=about)
    return exit_of(error)
