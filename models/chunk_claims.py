"""Claims on chunks: one worker moves a chunk at a time, and says when it lets go."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    and_,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.selectable import ExecutableReturnsRows

from argosy.errors import Error
from models.base import NO_SYNC, from_now, is_free, table_of
from models.chunk import Chunk, ChunkState
from models.ledger import clear
from models.transfer import State, Transfer
from models.transitions import record


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
    given = {
        "of_transfer": transfer_id,
        "of_number": number,
        "takeover": takeover,
        "lease": timedelta(seconds=lease_seconds),
        "by_worker": worker,
    }
    return session.scalars(_claiming(), given).one_or_none()


@cache
def _claiming() -> ReturningUpdate[Chunk]:
    lease_end = from_now("lease")
    return (
        update(Chunk)
        .where(Chunk.transfer_id == bindparam("of_transfer"))
        .where(Chunk.number == bindparam("of_number"), _transfer_is(State.MOVING))
        .where(Chunk.state != ChunkState.STORED)
        .where(or_(is_free(Chunk.lease_until), bindparam("takeover", type_=Boolean())))
        .values(
            state=ChunkState.MOVING,
            epoch=Chunk.epoch + 1,
            attempts=Chunk.attempts + 1,
            lease_until=lease_end,
            republish_at=lease_end,
            worker=bindparam("by_worker"),
        )
        .returning(Chunk)
        .execution_options(**NO_SYNC)
    )


def claim_only(
    session: Session, transfer: Transfer, length: int, *, lease_seconds: float, worker: str
) -> Chunk:
    """Lay out a transfer of one chunk, and take that: for who has it moving in this transaction.

    Nobody else can have seen the transfer move, or the chunk, so there is nothing to compare.
    """
    clear(session, transfer.id)
    given = {
        "of_transfer": transfer.id,
        "of_length": length,
        "lease": timedelta(seconds=lease_seconds),
        "by_worker": worker,
    }
    chunk: Chunk = session.scalars(_laying_out_claimed(), given).one()
    return chunk


@cache
def _laying_out_claimed() -> ExecutableReturnsRows:
    chunks = table_of(Chunk)
    lease_end = from_now("lease")
    one = insert(chunks).values(
        transfer_id=bindparam("of_transfer"),
        number=1,
        offset=0,
        length=bindparam("of_length"),
        state=ChunkState.MOVING,
        epoch=1,
        attempts=1,
        lease_until=lease_end,
        republish_at=lease_end,
        worker=bindparam("by_worker"),
    )
    return select(Chunk).from_statement(one.returning(*chunks.c))


def renew_chunk(session: Session, chunk: Chunk, lease_seconds: float) -> bool:
    """Prolong a claim; False when it was lost or the transfer has ended.

    A chunk that is on its way when its transfer is paused may arrive.
    """
    lease_end = func.now() + timedelta(seconds=lease_seconds)
    result = session.execute(
        update(Chunk)
        .where(held(), _transfer_is(State.MOVING, State.PAUSED))
        .values(lease_until=lease_end, republish_at=lease_end)
        .returning(Chunk.number)
        .execution_options(**NO_SYNC),
        held_by(chunk),
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
        .where(held())
        .values(
            state=ChunkState.QUEUED,
            lease_until=None,
            republish_at=func.now() + timedelta(seconds=retry_in),
            publications=0,
            attempts=Chunk.attempts - (1 if blameless else 0),
            last_error=_reason(error),
        )
        .returning(Chunk.number)
        .execution_options(**NO_SYNC),
        held_by(chunk),
    ).one_or_none()
    if released is not None and tried:
        _record_put_back(session, chunk, error, retry_in)


def drop_chunk(session: Session, chunk: Chunk, error: Error) -> bool:
    """Let go of a claimed chunk whose transfer ends with this error; False if it was lost."""
    dropped = session.execute(
        update(Chunk)
        .where(held())
        .values(state=ChunkState.QUEUED, lease_until=None, last_error=_reason(error))
        .returning(Chunk.number)
        .execution_options(**NO_SYNC),
        held_by(chunk),
    ).one_or_none()
    return dropped is not None


def retire_chunks(session: Session, transfer_id: UUID) -> None:
    """Take the unstored chunks of an ended transfer out of what `due_chunks` looks through."""
    session.execute(
        update(Chunk)
        .where(Chunk.transfer_id == transfer_id, Chunk.state != ChunkState.STORED)
        .values(state=ChunkState.WAITING, lease_until=None)
        .execution_options(**NO_SYNC)
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


def held() -> ColumnElement[bool]:
    """A claim on a chunk still stands, the one of `held_by`: every change by its holder asks it."""
    return and_(
        Chunk.transfer_id == bindparam("of_transfer"),
        Chunk.number == bindparam("of_number"),
        Chunk.epoch == bindparam("of_epoch"),
        Chunk.state == ChunkState.MOVING,
    )


def held_by(chunk: Chunk) -> dict[str, Any]:
    """The parameters of `held`, for whoever has claimed this chunk."""
    return {
        "of_transfer": chunk.transfer_id,
        "of_number": chunk.number,
        "of_epoch": chunk.epoch,
    }


def _transfer_is(*states: State) -> ColumnElement[bool]:
    there = (Transfer.id == bindparam("of_transfer"), Transfer.state.in_(states))
    return select(Transfer.id).where(*there).exists()
