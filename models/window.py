"""The window of a transfer: how many of its chunks are on their way at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, union_all, update
from sqlalchemy.orm import Session

from models.base import NO_SYNC
from models.batch import at_once
from models.chunk import DIGEST, Chunk, ChunkState


def open_window(
    session: Session, transfer_id: UUID, slots: int, republish_seconds: float
) -> Sequence[int]:
    """Mark the next waiting chunks as queued; their messages are due to be sent."""
    numbers = Chunk.number.in_(_waiting(transfer_id, slots))
    return _open(session, transfer_id, numbers, republish_seconds)


def open_next(
    session: Session, transfer_id: UUID, number: int, republish_seconds: float
) -> Sequence[int]:
    """Open one more. It is behind this chunk as a rule: what is stored is not read each time."""
    behind = _waiting(transfer_id, 1).where(Chunk.number > number)
    first = union_all(behind, _waiting(transfer_id, 1)).limit(1).scalar_subquery()
    return _open(session, transfer_id, Chunk.number == first, republish_seconds)


def empty_window(session: Session, transfer_id: UUID) -> None:
    """Have those chunks wait again that nobody holds: their messages count no more.

    No lock is waited for: whoever stores a chunk holds its lock and waits for the transfer's.
    """
    gone = and_(Chunk.state == ChunkState.MOVING, Chunk.lease_until < func.now())
    nobodys = (
        select(Chunk.number)
        .where(Chunk.transfer_id == transfer_id, or_(Chunk.state == ChunkState.QUEUED, gone))
        .with_for_update(skip_locked=True)
    )
    session.execute(
        update(Chunk)
        .where(Chunk.transfer_id == transfer_id, Chunk.number.in_(at_once(nobodys)))
        .values(state=ChunkState.WAITING, lease_until=None)
        .execution_options(**NO_SYNC)
    )


def refill_window(
    session: Session, transfer_id: UUID, window: int, republish_seconds: float
) -> Sequence[int]:
    """Open the window of a transfer that was paused; the messages are due to be sent."""
    empty_window(session, transfer_id)
    return fill_window(session, transfer_id, window, republish_seconds)


def fill_window(
    session: Session, transfer_id: UUID, window: int, republish_seconds: float
) -> Sequence[int]:
    """Open what lacks of a window. The caller holds the transfer's row."""
    busy = and_(Chunk.state.in_((ChunkState.QUEUED, ChunkState.MOVING)), Chunk.number != DIGEST)
    digest_waits = and_(Chunk.state == ChunkState.WAITING, Chunk.number == DIGEST)
    counts = select(func.count().filter(busy), func.count().filter(digest_waits))
    taken, digests = session.execute(counts.where(Chunk.transfer_id == transfer_id)).one()
    return open_window(session, transfer_id, max(0, window - taken) + digests, republish_seconds)


def _waiting(transfer_id: UUID, most: int) -> Select[int]:
    return (
        select(Chunk.number)
        .where(Chunk.transfer_id == transfer_id, Chunk.state == ChunkState.WAITING)
        .order_by(Chunk.number)
        .limit(most)
    )


def _open(
    session: Session,
    transfer_id: UUID,
    numbers: ColumnElement[bool],
    republish_seconds: float,
) -> Sequence[int]:
    return session.scalars(
        update(Chunk)
        .where(Chunk.transfer_id == transfer_id, numbers)
        .where(Chunk.state == ChunkState.WAITING)
        .values(
            state=ChunkState.QUEUED,
            publications=1,
            republish_at=func.now() + timedelta(seconds=republish_seconds),
        )
        .returning(Chunk.number)
        .execution_options(**NO_SYNC)
    ).all()
