"""`argosy extend`."""

from __future__ import annotations

import click

from commands import refs
from commands.account import client
from commands.kinds import ref_argument
from commands.output import document, json_option, moment, say


@click.command()
@ref_argument
@click.option(
    "--days",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="So many days from now; as many as the fleet keeps a new file by default.",
)
@json_option
def extend(*, ref: str, days: float | None, as_json: bool) -> None:
    """Keep a file for longer.

    REF is as for download. A file never goes sooner by it. Prints until when it is kept.

    Example: argosy extend agent-transfers/6f.../9a.../report.bin --days 30
    """
    with client() as agent:
        kept = agent.extend(refs.one(agent, ref), days)
    if as_json:
        document(kept.document())
        return
    until = moment(kept.expires_at) or "it is deleted: it does not expire"
    say(f"{kept.bucket}/{kept.path}  until {until}")
