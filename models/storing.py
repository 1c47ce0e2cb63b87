"""Storing a chunk: it is entered, and what follows is decided in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Interval, bindparam, case, func, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from models.base import NO_SYNC
from models.chunk import DIGEST, Chunk, ChunkState
from models.chunk_claims import held, held_by
from models.transfer import State, Transfer
from models.transitions import advance
from models.window import open_next


@dataclass(frozen=True)
class Stored:
    """What the storing of a chunk led to.

    `taken` is the transfer where whoever stored its last chunk has claimed to assemble it.
    """

    won: bool
    next_number: int | None = None
    assembling: bool = False
    bytes_done: int = 0
    progress_due: bool = False
    taken: Transfer | None = None


def store_chunk(
    session: Session,
    chunk: Chunk,
    etag: str | None,
    *,
    xxh3: int | None = None,
    republish_seconds: float,
    progress_seconds: float,
    **facts: Any,
) -> Stored:
    """Enter a chunk as stored and decide what follows, in one transaction.

    The transfer's row lock orders the last chunks of a transfer, so exactly one
    of them finds nothing left and moves the transfer to `assembling`. `facts`
    are columns of the transfer that this chunk found out (its checksums).
    """
    entered = session.scalar(_entering(), {**held_by(chunk), "with_etag": etag, "with_xxh3": xxh3})
    if entered is None:
        return Stored(won=False)
    moved = 0 if chunk.number == DIGEST else chunk.length
    transfer, progress_due = _count_down(session, chunk, moved, progress_seconds, facts)
    if transfer is None:
        return Stored(won=False)
    if transfer.chunks_left == 0 and transfer.state == State.MOVING:
        soon = timedelta(seconds=republish_seconds)
        advance(session, transfer, State.ASSEMBLING, republish_at=soon)
        return Stored(won=True, assembling=True, bytes_done=transfer.bytes_done)
    is_part = chunk.number != DIGEST  # the window is the parts'; the digest was beside it
    goes_on = is_part and transfer.chunks_left and transfer.state == State.MOVING
    opened = open_next(session, transfer.id, chunk.number, republish_seconds) if goes_on else ()
    return Stored(
        won=True,
        next_number=next(iter(opened), None),
        bytes_done=transfer.bytes_done,
        progress_due=progress_due,
    )


@cache
def _entering() -> ReturningUpdate[int]:
    return (
        update(Chunk)
        .where(held())
        .values(
            state=ChunkState.STORED,
            etag=bindparam("with_etag"),
            xxh3=bindparam("with_xxh3"),
            lease_until=None,
            stored_at=func.now(),
        )
        .returning(Chunk.number)
        .execution_options(**NO_SYNC)
    )


def _count_down(
    session: Session, chunk: Chunk, moved: int, progress_seconds: float, facts: dict[str, Any]
) -> tuple[Transfer | None, bool]:
    """Take one chunk off what is left, under the row's lock; also says if progress is due."""
    counting = _counting().values(facts) if facts else _counting()
    given = {
        "of_transfer": chunk.transfer_id,
        "moved": moved,
        "every": timedelta(seconds=progress_seconds),
    }
    row = session.execute(counting, given).one_or_none()
    return (row[0], bool(row[1])) if row else (None, False)


@cache
def _counting() -> ReturningUpdate[Transfer, bool]:
    last = func.coalesce(Transfer.progress_at, Transfer.created_at)
    due = last <= func.now() - bindparam("every", type_=Interval())
    return (
        update(Transfer)
        .where(Transfer.id == bindparam("of_transfer"))
        .where(Transfer.state.in_((State.MOVING, State.PAUSED)))
        .values(
            chunks_left=Transfer.chunks_left - 1,
            bytes_done=Transfer.bytes_done + bindparam("moved", type_=BigInteger()),
            progress_at=case((due, func.now()), else_=Transfer.progress_at),
        )
        .returning(Transfer, Transfer.progress_at == func.now())
        .execution_options(**NO_SYNC)
    )
