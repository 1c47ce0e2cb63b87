"""Cancelling a transfer, pausing it, and having it go on. The caller holds the row's lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from argosy.errors import InvalidState, TransferCancelled
from models.event import Event
from models.lane import Lane
from models.transfer import ENDED, TRANSITIONS, Priority, State, Transfer
from models.transitions import advance
from models.window import empty_window, refill_window

PAUSED = f"transfer.{State.PAUSED}"
"""Name of the event that says who paused a transfer, and when."""

NO_LANE = Lane(Priority.NORMAL, "")


@dataclass(frozen=True)
class Resumed:
    """What is to be done for a transfer that goes on: a turn, chunks in its lane, its assembly."""

    planning: bool = False
    numbers: Sequence[int] = ()
    lane: Lane = NO_LANE
    assembling: bool = False


def cancel(session: Session, transfer: Transfer, by: str) -> bool:
    """End a transfer on the word of agent `by`; False when it was cancelled before.

    The lease of a worker that plans or assembles it is left to end: so long its
    bytes may arrive. Raises InvalidState when it has ended otherwise.
    """
    if transfer.state == State.CANCELLED:
        return False
    if transfer.state in ENDED:
        raise InvalidState(
            f"{transfer.name} is {transfer.state}: there is nothing left to cancel.",
            str(transfer.id),
        )
    advance(
        session,
        transfer,
        State.CANCELLED,
        detail={"by": by},
        error_code=TransferCancelled.code,
        error_message=f"Agent {by} has cancelled the transfer of {transfer.name}.",
        lease_until=Transfer.lease_until,
    )
    return True


def pause(session: Session, transfer: Transfer, by: str) -> bool:
    """Hold a transfer on the word of agent `by`; False when it was held before.

    What is stored stays, and chunks that are on their way may arrive. Raises
    InvalidState when it is too late.
    """
    if transfer.state == State.PAUSED:
        return False
    if State.PAUSED not in TRANSITIONS[State(transfer.state)]:
        raise InvalidState(f"{transfer.name} {_too_late(transfer)}", str(transfer.id))
    kept = Transfer.lease_until
    advance(session, transfer, State.PAUSED, detail={"by": by}, lease_until=kept)
    empty_window(session, transfer.id)
    return True


def _too_late(transfer: Transfer) -> str:
    if transfer.state == State.ASSEMBLING:
        return "has been moved and is being put together: it cannot be paused any more."
    return f"is {transfer.state}: there is nothing left to hold."


def unpause(
    session: Session, transfer: Transfer, by: str, *, window: int, republish_seconds: float
) -> Resumed:
    """Have a paused transfer go on; one that is not paused does so anyway.

    Raises InvalidState when it has ended.
    """
    if transfer.state in ENDED:
        raise InvalidState(
            f"{transfer.name} is {transfer.state}: it cannot go on.", str(transfer.id)
        )
    if transfer.state != State.PAUSED:
        return Resumed()
    soon = timedelta(seconds=republish_seconds)
    was_planned = transfer.chunks_left is not None
    advance(
        session,
        transfer,
        State.MOVING if was_planned else State.QUEUED,
        detail={"by": by},
        republish_at=soon,
        admitted_at=func.now() if was_planned else None,  # it waits for its turn again
        progress_at=func.now(),  # the pause is not held against it
        expires_at=_later(transfer),
    )
    if not was_planned:
        return Resumed(planning=True)
    if transfer.chunks_left == 0:
        advance(session, transfer, State.ASSEMBLING, republish_at=soon)
        return Resumed(assembling=True)
    numbers = refill_window(session, transfer.id, window, republish_seconds)
    return Resumed(numbers=numbers, lane=transfer.lane)


def last_pause(transfer_id: UUID) -> Select[Event]:
    """The query for the event of a transfer's latest pause."""
    query = select(Event).where(Event.transfer_id == transfer_id, Event.name == PAUSED)
    return query.order_by(Event.id.desc()).limit(1)


def _later(transfer: Transfer) -> ColumnElement[datetime | None]:
    """The end of the file's time: what the pause took is not taken off it."""
    since = last_pause(transfer.id).with_only_columns(Event.at).scalar_subquery()
    return Transfer.expires_at + (func.now() - func.coalesce(since, func.now()))
