"""Claims of processes that have ended: given back for them, before their leases run out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, update
from sqlalchemy.orm import Session

from models.chunk import Chunk, ChunkState
from models.derivative import Derivative, Making
from models.transfer import ENDED, State, Transfer
from models.transitions import record

LEFT = "Its worker was asked to end."
"""Why work is handed back; nobody is blamed, so the try does not count."""

_LIVE = [state for state in State if state not in ENDED]
_NO_SYNC = {"synchronize_session": False}


def hand_back(session: Session, workers: Sequence[str]) -> int:
    """Give back whatever these processes hold, due at once; returns how many claims.

    Only for processes that have ended: one that has not would go on.
    """
    return (
        _hand_back_chunks(session, workers)
        + _hand_back_stages(session, workers)
        + _hand_back_derivatives(session, workers)
    )


def _hand_back_chunks(session: Session, workers: Sequence[str]) -> int:
    given = session.execute(
        update(Chunk)
        .where(Chunk.worker.in_(workers), Chunk.state == ChunkState.MOVING)
        .values(state=ChunkState.QUEUED, last_error=LEFT, **_free(Chunk))
        .returning(Chunk.transfer_id, Chunk.number, Chunk.epoch, Chunk.worker)
        .execution_options(**_NO_SYNC)
    ).all()
    for transfer_id, number, epoch, worker in given:
        record(
            session,
            "chunk.put_back",
            transfer_id=transfer_id,
            epoch=epoch,
            worker=worker,
            detail={"number": number, "reason": LEFT, "retry_in": 0},
        )
    return len(given)


def _hand_back_stages(session: Session, workers: Sequence[str]) -> int:
    given = session.execute(
        update(Transfer)
        .where(Transfer.worker.in_(workers), Transfer.lease_until.is_not(None))
        .where(or_(Transfer.state.in_(_LIVE), _is_to_be_cleaned()))
        .values(**_free(Transfer))
        .returning(Transfer.id, Transfer.epoch, Transfer.worker)
        .execution_options(**_NO_SYNC)
    ).all()
    for transfer_id, epoch, worker in given:
        record(
            session,
            "transfer.put_back",
            transfer_id=transfer_id,
            epoch=epoch,
            worker=worker,
            detail={"message": LEFT, "retry_in": 0},
        )
    return len(given)


def _is_to_be_cleaned() -> ColumnElement[bool]:
    ended = Transfer.state.in_((State.FAILED, State.CANCELLED))
    return and_(ended, Transfer.cleaned_at.is_(None))


def _hand_back_derivatives(session: Session, workers: Sequence[str]) -> int:
    given = session.scalars(
        update(Derivative)
        .where(Derivative.worker.in_(workers), Derivative.lease_until.is_not(None))
        .where(Derivative.state == Making.DUE)
        .values(reason=LEFT, **_free(Derivative))
        .returning(Derivative.id)
        .execution_options(**_NO_SYNC)
    ).all()
    return len(given)


def _free(kind: type[Chunk] | type[Transfer] | type[Derivative]) -> dict[str, Any]:
    return {
        "lease_until": None,
        "republish_at": func.now(),
        "attempts": func.greatest(kind.attempts - 1, 0),
    }
