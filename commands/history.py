"""`argosy history`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from commands.kinds import Moment
from commands.output import columns, document, json_option, moment, seconds, size
from commands.views import view
from commands.wanted import KINDS, STATES, Wanted

if TYPE_CHECKING:
    from argosy.info import Status

HEAD = (
    "transfer",
    "asked for",
    "kind",
    "state",
    "size",
    "waited",
    "took",
    "agent",
    "name",
    "error",
)


@click.command()
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most to list."
)
@click.option(
    "--all", "everybody", is_flag=True, help="Everybody's: from the database, for operators."
)
@click.option("--agent", metavar="NAME", help="Only this agent's.")
@click.option(
    "--state", "states", type=click.Choice(STATES), multiple=True, help="Only in this state; again."
)
@click.option(
    "--kind", "kinds", type=click.Choice(KINDS), multiple=True, help="Only of this kind; again."
)
@click.option("--reason", metavar="CODE", help="Only those that failed for this error.")
@click.option("--since", type=Moment(), metavar="WHEN", help="Only asked for then or later.")
@click.option("--until", type=Moment(), metavar="WHEN", help="Only asked for before that.")
@json_option
def history(
    *,
    limit: int,
    everybody: bool,
    agent: str | None,
    states: tuple[str, ...],
    kinds: tuple[str, ...],
    reason: str | None,
    since: datetime | None,
    until: datetime | None,
    as_json: bool,
) -> None:
    """List transfers, the newest first.

    They are the agent's own, or everybody's for an admin. With --all and the fleet's
    own settings the database is asked, and no agent is needed. WHEN is a time in UTC, such as
    2026-11-28 or 2026-11-28T09:30, or so long ago: 30m, 12h, 7d.

    Example: argosy history --all --state failed --since 24h
    """
    wanted = Wanted(agent, states, kinds, reason, since, until)
    rows = []
    with view(operators=None if everybody else False) as looks:
        for found in looks.history(limit, wanted):
            if as_json:
                document(found.model_dump(mode="json"))
            else:
                rows.append(_row(found))
    if not as_json:
        columns(HEAD, rows)


def _row(found: Status) -> tuple[str, ...]:
    about = (str(found.id), moment(found.created_at), found.kind, found.state, size(found.size))
    waited = _between(found.created_at, found.started_at)
    took = _between(found.started_at, found.ended_at)
    code = found.error.code if found.error else ""
    return (*about, waited, took, found.agent or "", found.name, code)


def _between(begin: datetime | None, end: datetime | None) -> str:
    return seconds((end - begin).total_seconds()) if begin and end else ""
