"""Giving turns: whoever may have freed a slot sees who gets it, and has that transfer begin."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from argosy.settings import FleetSettings
from models import Continuation, Lane
from models.continuations import first_callers
from models.turns import Slots, admit
from tasks.fleet import fleet
from tasks.messages import send_plan


def give_turns() -> None:
    """Give the free slots to those whose turn it is. To be called once a commit has freed one.

    What is missed where a worker dies in between, `transfer.resume` gives.
    """
    _send(fleet().transact(_admit))


def send_out(transfer_id: UUID) -> None:
    """Have a transfer begin that has its turn."""
    _send(fleet().ask(lambda session: first_callers(session, [transfer_id])))


def slots_of(settings: FleetSettings) -> Slots:
    """As the settings have them."""
    limits = settings.agent_transfers, settings.agent_bytes_per_second
    return Slots(settings.transfers_at_once, *limits)


def _admit(session: Session) -> Sequence[tuple[Continuation, Lane]]:
    settings = fleet().settings
    given = admit(session, slots_of(settings), republish_seconds=settings.republish_seconds)
    return first_callers(session, given) if given else ()


def _send(callers: Sequence[tuple[Continuation, Lane]]) -> None:
    for caller, lane in callers:
        send_plan(caller, lane)
