"""Entering dead letters, and what is told of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.batch import at_once
from models.dead_letter import DeadLetter
from models.moments import iso

MOST_TOLD = 5
"""Of one transfer, the newest."""


def enter(session: Session, letters: Sequence[Mapping[str, Any]]) -> None:
    """Enter letters, each as the columns of its row; one that is there already stays as it is."""
    if letters:
        session.execute(insert(DeadLetter).values(list(letters)).on_conflict_do_nothing())


def of_transfers(
    session: Session, transfer_ids: Iterable[UUID]
) -> Mapping[UUID, Sequence[DeadLetter]]:
    """The newest letters of each of these transfers, where there are any."""
    turn = func.row_number().over(
        partition_by=DeadLetter.transfer_id, order_by=DeadLetter.id.desc()
    )
    ranked = select(DeadLetter.id, turn.label("turn")).where(
        DeadLetter.transfer_id.in_(list(transfer_ids))
    )
    newest = ranked.subquery()
    query = select(DeadLetter).join(newest, newest.c.id == DeadLetter.id)
    found: dict[UUID, list[DeadLetter]] = {}
    for letter in session.scalars(query.where(newest.c.turn <= MOST_TOLD).order_by(DeadLetter.id)):
        if letter.transfer_id:
            found.setdefault(letter.transfer_id, []).append(letter)
    return found


def newest(
    session: Session, *, limit: int, transfer_id: UUID | None = None
) -> Sequence[DeadLetter]:
    """The newest letters, of all or of one transfer."""
    query = select(DeadLetter).order_by(DeadLetter.id.desc()).limit(limit)
    if transfer_id is not None:
        query = query.where(DeadLetter.transfer_id == transfer_id)
    return session.scalars(query).all()


def document(letter: DeadLetter) -> dict[str, Any]:
    """A letter as plain JSON types."""
    return {
        "at": iso(letter.at),
        "task": letter.task,
        "task_id": letter.task_id,
        "transfer": str(letter.transfer_id) if letter.transfer_id else None,
        "queue": letter.queue,
        "reason": letter.reason,
        "deaths": letter.deaths,
        "detail": letter.detail,
    }


def drop_old(session: Session, *, days: float, limit: int) -> int:
    """Remove letters that have been kept for so long; returns how many went."""
    old = (
        select(DeadLetter.id)
        .where(DeadLetter.at <= func.now() - timedelta(days=days))
        .order_by(DeadLetter.at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = delete(DeadLetter).where(DeadLetter.id.in_(at_once(old))).returning(DeadLetter.id)
    return len(session.scalars(gone.execution_options(synchronize_session=False)).all())
