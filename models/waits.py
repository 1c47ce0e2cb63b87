"""Why a transfer does not go on, or what it waits for: in sentences, from its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from sqlalchemy import Select, and_, func, or_, select, tuple_
from sqlalchemy.orm import Session

from models.chunk import DIGEST, Chunk, ChunkState
from models.control import last_pause
from models.event import Event
from models.moments import clock
from models.transfer import State, Transfer
from models.transitions import PUT_BACK

MOST_CHUNKS = 20
"""Chunks of which one transfer tells why they wait."""
MOST_BEFORE = 1000
"""Transfers that are counted of those that are before one."""


@dataclass(frozen=True)
class Case:
    """One transfer to be explained: its row, its parts by state, the window, the time."""

    session: Session
    transfer: Transfer
    parts: Mapping[str, int]
    window: int
    now: datetime

    def at(self, moment: datetime) -> str:
        """A time for people."""
        return clock(moment, self.now)


def waits(case: Case) -> list[str]:
    """Why it does not go on, or who is at it; nothing for one that is over and done with."""
    return list(_TOLD[State(case.transfer.state)](case))


def _queued(case: Case) -> Iterator[str]:
    if _is_held(case):
        yield f"being planned by {_holder(case)}"
    elif case.transfer.admitted_at is not None:
        yield "it has its turn: a worker is to plan it"
        yield _next_attempt(case)
    else:
        count = case.session.scalar(before(case.transfer)) or 0
        many = f"more than {MOST_BEFORE}" if count > MOST_BEFORE else str(count)
        own = f"{many} of its agent's transfers {'is' if count == 1 else 'are'} before it"
        yield f"it waits for its turn: {own}"


def before(transfer: Transfer) -> Select[int]:
    """Count those of its agent whose turn comes first, by `ix_transfers_waiting`; not too many."""
    earlier = (
        select(Transfer.id)
        .where(Transfer.agent_id == transfer.agent_id)
        .where(Transfer.state == State.QUEUED, Transfer.admitted_at.is_(None))
        .where(tuple_(Transfer.turn_at, Transfer.id) < (transfer.turn_at, transfer.id))
        .order_by(Transfer.turn_at, Transfer.id)
        .limit(MOST_BEFORE + 1)
    )
    return select(func.count()).select_from(earlier.subquery())


def _moving(case: Case) -> Iterator[str]:
    if queued := case.parts[ChunkState.QUEUED]:
        waiting = case.parts[ChunkState.WAITING]
        behind = f", {waiting} wait for their turn" if waiting else ""
        yield f"window: {queued} of {case.window} chunk messages are in the queue{behind}"
    yield from _chunks(case)


def _paused(case: Case) -> Iterator[str]:
    if paused := case.session.scalar(last_pause(case.transfer.id)):
        by = (paused.detail or {}).get("by", "the fleet")
        yield f"paused by {by} since {case.at(paused.at)}"
    yield from _chunks(case)


def _assembling(case: Case) -> Iterator[str]:
    if _is_held(case):
        yield f"being assembled by {_holder(case)}"
    else:
        yield "every byte has been moved: a worker is to put it together"
        yield _next_attempt(case)


def _unclean(case: Case) -> Iterator[str]:
    if case.transfer.cleaned_at is None:
        yield "what it left behind is still to be removed"


def _nothing(_case: Case) -> Iterator[str]:
    yield from ()


_TOLD: Mapping[State, Callable[[Case], Iterator[str]]] = MappingProxyType(
    {
        State.QUEUED: _queued,
        State.PLANNED: _nothing,
        State.MOVING: _moving,
        State.PAUSED: _paused,
        State.ASSEMBLING: _assembling,
        State.FAILED: _unclean,
        State.CANCELLED: _unclean,
        State.COMPLETED: _nothing,
        State.EXPIRED: _nothing,
    }
)


def _is_held(case: Case) -> bool:
    until = case.transfer.lease_until
    return until is not None and until > case.now


def _holder(case: Case) -> str:
    until = case.transfer.lease_until or case.now
    return f"{case.transfer.worker} until {case.at(until)}"


def _next_attempt(case: Case) -> str:
    """When its message is sent again, and after what."""
    transfer = case.transfer
    query = select(Event).where(Event.transfer_id == transfer.id).order_by(Event.id.desc())
    last = case.session.scalar(query.limit(1))
    at = case.at(transfer.republish_at)
    if last is None or last.name != PUT_BACK:
        return f"if no worker takes it, its message is sent again at {at}"
    detail = last.detail or {}
    return f"next attempt at {at} after {detail.get('code')}: {detail.get('message')}"


def _chunks(case: Case) -> Iterator[str]:
    """Of each chunk that somebody holds or that went wrong, which and until when."""
    of_interest = or_(
        Chunk.state == ChunkState.MOVING,
        and_(Chunk.state == ChunkState.QUEUED, Chunk.last_error.is_not(None)),
    )
    query = select(Chunk).where(Chunk.transfer_id == case.transfer.id, of_interest)
    found = case.session.scalars(
        query.order_by(Chunk.number)
        .limit(MOST_CHUNKS + 1)
        .execution_options(populate_existing=True)
    ).all()
    yield from (_chunk(case, chunk) for chunk in found[:MOST_CHUNKS])
    if len(found) > MOST_CHUNKS:
        yield "other chunks are held or wait for their next attempt too"


def _chunk(case: Case, chunk: Chunk) -> str:
    what = "the pass for the checksums" if chunk.number == DIGEST else f"chunk {chunk.number}"
    if chunk.lease_until is None:
        return f"next attempt of {what} at {case.at(chunk.republish_at)} after {chunk.last_error}"
    until = case.at(chunk.lease_until)
    if chunk.lease_until > case.now:
        return f"{what} is held by {chunk.worker} until {until}"
    return f"{what} was held by {chunk.worker} until {until}: it is sent again"
