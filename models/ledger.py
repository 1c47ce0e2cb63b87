"""The ledger: who moves which chunk, and what happens when the last one is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Uuid,
    and_,
    case,
    cast,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.orm import Session

from argosy.errors import Error
from argosy.storage.parts import count_parts
from models.batch import at_once
from models.chunk import DIGEST, Chunk, ChunkState
from models.lane import Lane
from models.transfer import State, Transfer
from models.transitions import advance, record

_NO_SYNC = {"synchronize_session": False, "populate_existing": True}


@dataclass(frozen=True)
class Stored:
    """What the storing of a chunk led to."""

    won: bool
    next_number: int | None = None
    assembling: bool = False
    bytes_done: int = 0
    progress_due: bool = False


def lay_out(
    session: Session,
    transfer_id: UUID,
    size: int,
    part_size: int,
    *,
    digest: bool,
    parts: bool = True,
) -> None:
    """Write the ledger of a transfer anew.

    `digest` adds the entry for the pass that computes the checksums of the whole. Without
    `parts` there is only that: what is compressed on the way has parts of its own.
    """
    session.execute(delete(Chunk).where(Chunk.transfer_id == transfer_id))
    if parts:
        _lay_out_parts(session, transfer_id, size, part_size)
    if digest:
        whole = {"transfer_id": transfer_id, "number": DIGEST, "offset": 0, "length": size}
        session.execute(insert(Chunk).values(**whole))


def _lay_out_parts(session: Session, transfer_id: UUID, size: int, part_size: int) -> None:
    count = count_parts(size, part_size)
    number = func.generate_series(1, count).column_valued("number")
    offset = (cast(number, BigInteger) - 1) * part_size
    length = func.least(part_size, size - offset)
    rows = select(literal(transfer_id, Uuid()), number, offset, length)
    columns = ["transfer_id", "number", "offset", "length"]
    session.execute(insert(Chunk).from_select(columns, rows))


def open_window(
    session: Session, transfer_id: UUID, slots: int, republish_seconds: float
) -> Sequence[int]:
    """Mark the next waiting chunks as queued; their messages are due to be sent."""
    numbers = Chunk.number.in_(_waiting(transfer_id, slots))
    return _open(session, transfer_id, numbers, republish_seconds)


def _open_next(
    session: Session, transfer_id: UUID, number: int, republish_seconds: float
) -> Sequence[int]:
    """Open one more. It is behind this chunk as a rule: what is stored is not read each time."""
    behind = _waiting(transfer_id, 1).where(Chunk.number > number)
    first = union_all(behind, _waiting(transfer_id, 1)).limit(1).scalar_subquery()
    return _open(session, transfer_id, Chunk.number == first, republish_seconds)


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
        .execution_options(**_NO_SYNC)
    ).all()


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
        .execution_options(**_NO_SYNC)
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
    not_full = (
        select(Transfer.id, Transfer.agent_id, Transfer.priority, Transfer.path)
        .outerjoin(on_its_way, on_its_way.c.transfer_id == Transfer.id)
        .where(Transfer.state == State.MOVING, Transfer.chunks_left > number, parts < window)
        .order_by(Transfer.id)
        .limit(limit)
        .with_for_update(of=Transfer, skip_locked=True)
    )
    return [
        (transfer_id, Lane(priority, path), chunk)
        for transfer_id, agent_id, priority, path in session.execute(not_full).all()
        for chunk in fill_window(
            session, transfer_id, window_of(session, agent_id), republish_seconds
        )
    ]


def claim_chunk(
    session: Session,
    transfer_id: UUID,
    number: int,
    *,
    lease_seconds: float,
    worker: str,
    takeover: bool = False,
) -> Chunk | None:
    """Take a chunk to move it, or None: it is stored, held, or its transfer is not moving."""
    free = or_(Chunk.lease_until.is_(None), Chunk.lease_until < func.now())
    lease_end = func.now() + timedelta(seconds=lease_seconds)
    return session.scalars(
        update(Chunk)
        .where(Chunk.transfer_id == transfer_id, Chunk.number == number)
        .where(Chunk.state != ChunkState.STORED, or_(free, literal(takeover)))
        .where(_transfer_is(transfer_id, State.MOVING))
        .values(
            state=ChunkState.MOVING,
            epoch=Chunk.epoch + 1,
            attempts=Chunk.attempts + 1,
            lease_until=lease_end,
            republish_at=lease_end,
            worker=worker,
        )
        .returning(Chunk)
        .execution_options(**_NO_SYNC)
    ).one_or_none()


def renew_chunk(session: Session, chunk: Chunk, lease_seconds: float) -> bool:
    """Prolong a claim; False when it was lost or the transfer has ended.

    A chunk that is on its way when its transfer is paused may arrive.
    """
    lease_end = func.now() + timedelta(seconds=lease_seconds)
    result = session.execute(
        update(Chunk)
        .where(_held(chunk), _transfer_is(chunk.transfer_id, State.MOVING, State.PAUSED))
        .values(lease_until=lease_end, republish_at=lease_end)
        .returning(Chunk.number)
        .execution_options(**_NO_SYNC)
    )
    return result.one_or_none() is not None


def release_chunk(
    session: Session,
    chunk: Chunk,
    error: Error,
    *,
    retry_in: float,
    blameless: bool,
    tried: bool = True,
) -> None:
    """Give a claimed chunk back, to be sent again after `retry_in` seconds.

    A blameless release (Storage was away) does not count as an attempt. Of what was not even
    tried the chunk knows why, and the audit nothing. Its message did arrive: whether the next
    one is lost has nothing to do with how many there were.
    """
    released = session.execute(
        update(Chunk)
        .where(_held(chunk))
        .values(
            state=ChunkState.QUEUED,
            lease_until=None,
            republish_at=func.now() + timedelta(seconds=retry_in),
            publications=0,
            attempts=Chunk.attempts - (1 if blameless else 0),
            last_error=_reason(error),
        )
        .returning(Chunk.number)
        .execution_options(**_NO_SYNC)
    ).one_or_none()
    if released is not None and tried:
        _record_put_back(session, chunk, error, retry_in)


def drop_chunk(session: Session, chunk: Chunk, error: Error) -> bool:
    """Let go of a claimed chunk whose transfer ends with this error; False if it was lost."""
    dropped = session.execute(
        update(Chunk)
        .where(_held(chunk))
        .values(state=ChunkState.QUEUED, lease_until=None, last_error=_reason(error))
        .returning(Chunk.number)
        .execution_options(**_NO_SYNC)
    ).one_or_none()
    return dropped is not None


def retire_chunks(session: Session, transfer_id: UUID) -> None:
    """Take the unstored chunks of an ended transfer out of what `due_chunks` looks through."""
    session.execute(
        update(Chunk)
        .where(Chunk.transfer_id == transfer_id, Chunk.state != ChunkState.STORED)
        .values(state=ChunkState.WAITING, lease_until=None)
        .execution_options(**_NO_SYNC)
    )


def _reason(error: Error) -> str:
    return f"{error.code}: {error.message}"[:500]


def _record_put_back(session: Session, chunk: Chunk, error: Error, retry_in: float) -> None:
    record(
        session,
        "chunk.put_back",
        transfer_id=chunk.transfer_id,
        epoch=chunk.epoch,
        worker=chunk.worker,
        detail={
            "number": chunk.number,
            "reason": _reason(error),
            "retry_in": round(retry_in, 1),
        },
    )


def store_chunk(
    session: Session,
    chunk: Chunk,
    etag: str | None,
    *,
    republish_seconds: float,
    progress_seconds: float,
    **facts: Any,
) -> Stored:
    """Enter a chunk as stored and decide what follows, in one transaction.

    The transfer's row lock orders the last chunks of a transfer, so exactly one
    of them finds nothing left and moves the transfer to `assembling`. `facts`
    are columns of the transfer that this chunk found out (its checksums).
    """
    entered = session.execute(
        update(Chunk)
        .where(_held(chunk))
        .values(state=ChunkState.STORED, etag=etag, lease_until=None, stored_at=func.now())
        .returning(Chunk.number)
        .execution_options(**_NO_SYNC)
    ).one_or_none()
    if entered is None:
        return Stored(won=False)
    moved = 0 if chunk.number == DIGEST else chunk.length
    transfer, progress_due = _count_down(session, chunk, moved, progress_seconds, facts)
    if transfer is None:
        return Stored(won=False)
    if transfer.chunks_left == 0 and transfer.state == State.MOVING:
        soon = func.now() + timedelta(seconds=republish_seconds)
        advance(session, transfer, State.ASSEMBLING, republish_at=soon)
        return Stored(won=True, assembling=True, bytes_done=transfer.bytes_done)
    is_part = chunk.number != DIGEST  # the window is the parts'; the digest was beside it
    goes_on = is_part and transfer.chunks_left and transfer.state == State.MOVING
    opened = _open_next(session, transfer.id, chunk.number, republish_seconds) if goes_on else ()
    return Stored(
        won=True,
        next_number=next(iter(opened), None),
        bytes_done=transfer.bytes_done,
        progress_due=progress_due,
    )


def _count_down(
    session: Session, chunk: Chunk, moved: int, progress_seconds: float, facts: dict[str, Any]
) -> tuple[Transfer | None, bool]:
    """Take one chunk off what is left, under the row's lock; also says if progress is due."""
    last = func.coalesce(Transfer.progress_at, Transfer.created_at)
    due = last <= func.now() - timedelta(seconds=progress_seconds)
    row = session.execute(
        update(Transfer)
        .where(Transfer.id == chunk.transfer_id)
        .where(Transfer.state.in_((State.MOVING, State.PAUSED)))
        .values(
            chunks_left=Transfer.chunks_left - 1,
            bytes_done=Transfer.bytes_done + moved,
            progress_at=case((due, func.now()), else_=Transfer.progress_at),
            **facts,
        )
        .returning(Transfer, Transfer.progress_at == func.now())
        .execution_options(**_NO_SYNC)
    ).one_or_none()
    return (row[0], bool(row[1])) if row else (None, False)


def stored_parts(session: Session, transfer_id: UUID) -> Sequence[Chunk]:
    """The parts of a transfer in ascending order, without the digest.

    Not those of an earlier try to encode it, which had more of them.
    """
    return session.scalars(
        select(Chunk)
        .join(Transfer, Transfer.id == Chunk.transfer_id)
        .where(Chunk.transfer_id == transfer_id, Chunk.number != DIGEST)
        .where(or_(Transfer.part_count.is_(None), Chunk.number <= Transfer.part_count))
        .order_by(Chunk.number)
    ).all()


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
        .execution_options(**_NO_SYNC)
    )
    return [(row.transfer_id, Lane(row.priority, row.path), row.number) for row in rows]


def expired_leases(session: Session) -> int:
    """Chunks whose worker has neither stored them nor given them back in time."""
    late = (Chunk.state == ChunkState.MOVING, Chunk.republish_at < func.now())
    return session.scalar(select(func.count()).select_from(Chunk).where(*late)) or 0


def _held(chunk: Chunk) -> ColumnElement[bool]:
    return and_(
        Chunk.transfer_id == chunk.transfer_id,
        Chunk.number == chunk.number,
        Chunk.epoch == chunk.epoch,
        Chunk.state == ChunkState.MOVING,
    )


def _transfer_is(transfer_id: UUID, *states: State) -> ColumnElement[bool]:
    there = (Transfer.id == transfer_id, Transfer.state.in_(states))
    return select(Transfer.id).where(*there).exists()
