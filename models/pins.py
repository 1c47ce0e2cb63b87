"""Making and taking back pins, and what the retention sweep asks about them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models.agent import Agent, Role
from models.batch import at_once
from models.pin import Pin
from models.transfer import Transfer


def pin(
    session: Session,
    message_id: UUID,
    files: Iterable[tuple[str, str]],
    *,
    agent_id: UUID,
    recipient_id: UUID | None = None,
) -> None:
    """Have a message keep these files (bucket and path); what it keeps already stays as old."""
    rows = [
        {
            "message_id": message_id,
            "agent_id": agent_id,
            "recipient_id": recipient_id,
            "bucket": bucket,
            "path": path,
        }
        for bucket, path in files
    ]
    if rows:
        session.execute(insert(Pin).values(rows).on_conflict_do_nothing(constraint="uq_pins_once"))


def unpin(session: Session, message_id: UUID, agent: Agent, sender: str | None = None) -> int:
    """Take back what this agent pinned for the message, or was pinned for it; an admin all.

    With the name of a `sender` only what that agent pinned: a message's id is its sender's
    word, and may be that of another's message. Returns how many pins went.
    """
    gone = delete(Pin).where(Pin.message_id == message_id)
    if sender is not None:
        by = select(Agent.id).where(Agent.name == sender).scalar_subquery()
        gone = gone.where(Pin.agent_id == by)
    if agent.role != Role.ADMIN:
        gone = gone.where(or_(Pin.agent_id == agent.id, Pin.recipient_id == agent.id))
    return len(session.scalars(gone.returning(Pin.id)).all())


def is_pinned(pin_days: float) -> ColumnElement[bool]:
    """Whether a message keeps the file of an upload's row; part of a query over `Transfer`.

    However often it is pinned anew: a file outlives its own end by `pin_days` at most.
    """
    days = timedelta(days=pin_days)
    of_it = and_(Pin.bucket == Transfer.bucket, Pin.path == Transfer.object_name)
    kept = exists().where(of_it, Pin.at > func.now() - days).correlate(Transfer)
    in_time = or_(Transfer.expires_at.is_(None), Transfer.expires_at > func.now() - days)
    return and_(in_time, kept)


def drop_stale(session: Session, *, pin_days: float, limit: int) -> int:
    """Remove pins that have kept their file for `pin_days`; returns how many went."""
    stale = (
        select(Pin.id)
        .where(Pin.at <= func.now() - timedelta(days=pin_days))
        .order_by(Pin.at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    gone = delete(Pin).where(Pin.id.in_(at_once(stale))).returning(Pin.id)
    return len(session.scalars(gone.execution_options(synchronize_session=False)).all())
