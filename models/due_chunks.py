"""Chunks that are overdue: their message or their holder seems lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from sqlalchemy import Select, and_, func, select, tuple_, update
from sqlalchemy.orm import Session

from models.base import NO_SYNC
from models.batch import at_once
from models.chunk import DIGEST, Chunk, ChunkState
from models.lane import Lane
from models.transfer import State, Transfer
from models.window import fill_window


def due_chunks(
    session: Session, *, limit: int, republish_seconds: float
) -> Sequence[tuple[UUID, Lane, int]]:
    """Chunks whose message or holder seems lost; each is marked as sent again.

    With each the lane of its transfer, which says where it is sent. The wait doubles with
    each time, so a long queue is not filled with copies.
    """
    late = (
        select(Chunk.transfer_id, Chunk.number)
        .join(Transfer, and_(Transfer.id == Chunk.transfer_id, Transfer.state == State.MOVING))
        .where(Chunk.state.in_((ChunkState.QUEUED, ChunkState.MOVING)))
        .where(Chunk.republish_at < func.now())
        .order_by(Chunk.republish_at)
        .limit(limit)
        .with_for_update(of=Chunk, skip_locked=True)
    )
    wait = republish_seconds * func.power(2.0, func.least(Chunk.publications, 6))
    rows = session.execute(
        update(Chunk)
        .where(tuple_(Chunk.transfer_id, Chunk.number).in_(at_once(late)))
        .values(
            state=ChunkState.QUEUED,
            lease_until=None,
            publications=Chunk.publications + 1,
            republish_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, wait),
        )
        .where(Transfer.id == Chunk.transfer_id)
        .returning(Chunk.transfer_id, Transfer.priority, Transfer.path, Chunk.number)
        .execution_options(**NO_SYNC)
    )
    return [(row.transfer_id, Lane(row.priority, row.path), row.number) for row in rows]


def due_windows(
    session: Session,
    *,
    window: int,
    window_of: Callable[[Session, UUID], int],
    limit: int,
    republish_seconds: float,
) -> Sequence[tuple[UUID, Lane, int]]:
    """Chunks that wait for a turn although their transfer's window is not full; marked as sent.

    Whoever stores a chunk opens the next one in the same transaction, so there are none as a
    rule: an older version may have left some, or a smaller window. What is neither stored nor
    on its way waits, so that no ledger is read for it. `window` is the widest there is,
    `window_of` says an agent's.
    """
    not_full = session.execute(_not_full(window, limit)).all()
    return [
        (transfer_id, Lane(priority, path), chunk)
        for transfer_id, agent_id, priority, path in not_full
        for chunk in fill_window(
            session, transfer_id, window_of(session, agent_id), republish_seconds
        )
    ]


def _not_full(window: int, limit: int) -> Select[UUID, UUID, str, str]:
    on_its_way = (
        select(
            Chunk.transfer_id,
            func.count().label("number"),
            func.count().filter(Chunk.number != DIGEST).label("parts"),
        )
        .where(Chunk.state.in_((ChunkState.QUEUED, ChunkState.MOVING)))
        .group_by(Chunk.transfer_id)
        .subquery()
    )
    number, parts = (func.coalesce(column, 0) for column in on_its_way.c[1:])
    return (
        select(Transfer.id, Transfer.agent_id, Transfer.priority, Transfer.path)
        .outerjoin(on_its_way, on_its_way.c.transfer_id == Transfer.id)
        .where(Transfer.state == State.MOVING, Transfer.chunks_left > number, parts < window)
        .order_by(Transfer.id)
        .limit(limit)
        .with_for_update(of=Transfer, skip_locked=True)
    )


def expired_leases(session: Session) -> int:
    """Chunks whose worker has neither stored them nor given them back in time."""
    late = (Chunk.state == ChunkState.MOVING, Chunk.republish_at < func.now())
    return session.scalar(select(func.count()).select_from(Chunk).where(*late)) or 0
