"""`argosy cancel`, `argosy pause`, `argosy resume`, `argosy retry`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import click

from argosy.errors import Error
from commands import mistakes
from commands.account import client
from commands.exits import Exit, exit_of, exit_of_all
from commands.output import document, json_option, say

if TYPE_CHECKING:
    from argosy.info import Status

ids_argument = click.argument("ids", nargs=-1, required=True, metavar="ID...", type=click.UUID)


@click.command()
@ids_argument
@json_option
def cancel(*, ids: tuple[UUID, ...], as_json: bool) -> None:
    """End transfers.

    What they had moved is removed. Prints the state of each.

    Example: argosy cancel 9a3c0f6e-8d3e-4d27-9f5b-0d5f3a1c2b4e
    """
    with client() as agent:
        _each(agent.cancel, ids, as_json=as_json)


@click.command()
@ids_argument
@json_option
def pause(*, ids: tuple[UUID, ...], as_json: bool) -> None:
    """Hold transfers.

    What they have moved stays, and they go on by `argosy resume`.

    Example: argosy pause 9a3c0f6e-8d3e-4d27-9f5b-0d5f3a1c2b4e
    """
    with client() as agent:
        _each(agent.pause, ids, as_json=as_json)


@click.command()
@ids_argument
@json_option
def resume(*, ids: tuple[UUID, ...], as_json: bool) -> None:
    """Have held transfers go on.

    Example: argosy resume 9a3c0f6e-8d3e-4d27-9f5b-0d5f3a1c2b4e
    """
    with client() as agent:
        _each(agent.resume, ids, as_json=as_json)


@click.command()
@ids_argument
@json_option
def retry(*, ids: tuple[UUID, ...], as_json: bool) -> None:
    """Do failed or cancelled transfers over again.

    Each becomes a transfer of its own, whose id and state are printed. Whoever waits for
    the old one gets the new outcome, and what was chained to it goes on.

    Example: argosy retry 9a3c0f6e-8d3e-4d27-9f5b-0d5f3a1c2b4e
    """
    with client() as agent:
        _each(agent.retry, ids, as_json=as_json)


def _each(act: Callable[[UUID], Status], ids: Sequence[UUID], *, as_json: bool) -> None:
    if code := exit_of_all([_one(act, transfer, as_json=as_json) for transfer in ids]):
        raise click.exceptions.Exit(code)


def _one(act: Callable[[UUID], Status], transfer: UUID, *, as_json: bool) -> int:
    try:
        status = act(transfer)
    except Error as error:
        if mistake := mistakes.explain(error):
            mistake.tell(as_json=as_json, about=str(transfer))
        return exit_of(error)
    if as_json:
        document(status.model_dump(mode="json"))
    else:
        say(f"{status.id}  {status.state}  {status.name}")
    return Exit.DONE
