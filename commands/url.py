"""`argosy url`."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import click

from commands import refs
from commands.account import client
from commands.kinds import Duration, ref_argument
from commands.output import document, json_option, moment, note, say


@click.command()
@ref_argument
@click.option(
    "--for",
    "length",
    type=Duration(),
    default="1h",
    show_default=True,
    metavar="TIME",
    help="How long it works: 90, 30s, 10m, 1h, 7d, 2w.",
)
@json_option
def url(*, ref: str, length: float, as_json: bool) -> None:
    """Make a URL that reads a file.

    Whoever has it may read the file without signing in, until its time is over. It
    cannot be taken back before: not by unshare, and not by disabling you. REF is as
    for download.

    Example: argosy url agent-transfers/6f.../9a.../report.bin --for 10m
    """
    seconds = math.ceil(length)
    ends = datetime.now(UTC) + timedelta(seconds=seconds)
    with client() as agent:
        made = agent.signed_url(refs.one(agent, ref), seconds=seconds)
    if as_json:
        document({"url": made, "expires_at": ends.isoformat()})
        return
    say(made)
    note(f"Whoever has it may read the file until {moment(ends)}. It cannot be taken back.")
