"""Rounds: entered by what runs by the clock, read by metrics and by who looks after it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.round import Round


def is_due(session: Session, name: str, every_seconds: float) -> bool:
    """Whether no such round began within half the time between two.

    A second clock strikes at another moment, and the same round need not be made twice.
    """
    recently = func.now() - timedelta(seconds=every_seconds / 2)
    began = select(Round.id).where(
        Round.name == name, Round.ended_at.is_not(None), Round.started_at > recently
    )
    return session.scalar(began.limit(1)) is None


def enter_round(session: Session, name: str, counts: dict[str, Any]) -> None:
    """Enter a round that began with this transaction and ends now."""
    session.add(
        Round(name=name, started_at=func.now(), ended_at=func.clock_timestamp(), counts=counts)
    )


def latest(session: Session, name: str) -> Round | None:
    """The last round of this name that came to its end."""
    ended = select(Round).where(Round.name == name, Round.ended_at.is_not(None))
    return session.scalars(ended.order_by(Round.id.desc()).limit(1)).one_or_none()


def begin(session: Session, name: str) -> int:
    """Enter a round that begins now; returns its number."""
    entered = Round(name=name)
    session.add(entered)
    session.flush()
    return entered.id


def note(session: Session, number: int, counts: Mapping[str, Any], *, ended: bool) -> None:
    """Say how far a round is, or how it ended: one that is interrupted has said what it did."""
    session.execute(
        update(Round)
        .where(Round.id == number)
        .values(counts=dict(counts), ended_at=func.now() if ended else None)
        .execution_options(synchronize_session=False)
    )
