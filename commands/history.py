"""`argosy history`."""

from __future__ import annotations

import click

from commands.output import columns, document, json_option, moment, size
from commands.views import view


@click.command()
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most to list."
)
@click.option(
    "--all", "everybody", is_flag=True, help="Everybody's: from the database, for operators."
)
@json_option
def history(*, limit: int, everybody: bool, as_json: bool) -> None:
    """List transfers, the newest first.

    They are the agent's own, or everybody's for an admin. With --all and the fleet's
    own settings the database is asked, and no agent is needed.

    Example: argosy history --limit 20
    """
    rows = []
    with view(operators=None if everybody else False) as looks:
        for found in looks.history(limit):
            if as_json:
                document(found.model_dump(mode="json"))
            else:
                asked_at = moment(found.created_at)
                about = (str(found.id), asked_at, found.kind, found.state, size(found.size))
                rows.append((*about, found.agent or "", found.name))
    if not as_json:
        columns(("transfer", "asked for", "kind", "state", "size", "agent", "name"), rows)
