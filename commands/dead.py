"""`argosy dead`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import click

from argosy.settings import FleetSettings, load
from commands.output import columns, document, json_option, moment

if TYPE_CHECKING:
    from models import DeadLetter

HEAD = ("died at", "queue", "reason", "task", "transfer", "task id")


@click.command()
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Most to list."
)
@click.option("--transfer", type=click.UUID, metavar="ID", help="Only those of this transfer.")
@json_option
def dead(*, limit: int, transfer: UUID | None, as_json: bool) -> None:
    """List the messages that the broker gave up, the newest first.

    For operators. What a message was for is in the fleet's own rows, and is sent again from
    there: nothing is lost with it. Whoever sent a request that died has been told. What is
    listed here goes after 30 days.

    Example: argosy dead --json
    """
    from models.database import one_session
    from models.dead_letters import document as as_document
    from models.dead_letters import newest

    with one_session(load(FleetSettings).operator_url) as session:
        letters = newest(session, limit=limit, transfer_id=transfer)
        if as_json:
            for letter in letters:
                document(as_document(letter))
        else:
            columns(HEAD, [_row(letter) for letter in letters])


def _row(letter: DeadLetter) -> tuple[str, ...]:
    about = (letter.task or "", str(letter.transfer_id or ""), letter.task_id or "")
    return (moment(letter.at), letter.queue, letter.reason, *about)
