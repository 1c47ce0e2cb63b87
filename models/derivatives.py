"""Derivatives as work: entered when somebody asks, claimed, and made, failed or skipped once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from argosy.errors import Error
from models.base import NO_SYNC
from models.batch import at_once
from models.continuation import Continuation
from models.derivative import Derivative, Making

Key = tuple[str, str]
"""A derivative's kind and its parameters, as the row has them."""


def of_file(session: Session, transfer_id: UUID) -> Sequence[Derivative]:
    """Every derivative of a file, in the order in which they were asked for."""
    return session.scalars(
        select(Derivative)
        .where(Derivative.transfer_id == transfer_id)
        .order_by(Derivative.created_at, Derivative.parameters)
        .execution_options(populate_existing=True)
    ).all()


def enter(
    session: Session, transfer_id: UUID, agent_id: UUID, wanted: Iterable[Key]
) -> Sequence[Derivative]:
    """The rows of these derivatives, made or found. One that is new is due."""
    keys = sorted(wanted)  # two that enter the same ones lock them in one order
    rows = [
        {"transfer_id": transfer_id, "agent_id": agent_id, "kind": kind, "parameters": parameters}
        for kind, parameters in keys
    ]
    session.execute(insert(Derivative).values(rows).on_conflict_do_nothing())
    return session.scalars(
        _these(transfer_id, keys).execution_options(populate_existing=True)
    ).all()


def ask_again(session: Session, transfer_id: UUID, agent_id: UUID, wanted: Iterable[Key]) -> None:
    """Have those of them tried once more that were not made and that nobody is making."""
    failed = Derivative.state.in_((Making.FAILED, Making.SKIPPED))
    waits = and_(Derivative.state == Making.DUE, Derivative.lease_until.is_(None))
    session.execute(
        update(Derivative)
        .where(Derivative.transfer_id == transfer_id)
        .where(tuple_(Derivative.kind, Derivative.parameters).in_(list(wanted)))
        .where(or_(failed, waits))
        .values(
            state=Making.DUE,
            agent_id=agent_id,
            attempts=0,
            lease_until=None,
            error_code=None,
            reason=None,
            republish_at=func.now(),
            updated_at=func.now(),
        )
        .execution_options(**NO_SYNC)
    )


def claim_derivatives(
    session: Session,
    wanted: Sequence[Derivative],
    *,
    agent_id: UUID,
    task_id: UUID,
    lease_seconds: float,
    worker: str,
    takeover: bool = False,
) -> Sequence[Derivative]:
    """Take those that are due and that nobody holds, to make them with this agent's rights.

    `takeover` ignores a standing lease, but only of the same request: its message came back.
    """
    free = or_(Derivative.lease_until.is_(None), Derivative.lease_until < func.now())
    ours = and_(literal(takeover), Derivative.task_id == task_id)
    lease_end = func.now() + timedelta(seconds=lease_seconds)
    return session.scalars(
        update(Derivative)
        .where(Derivative.id.in_([derivative.id for derivative in wanted]))
        .where(Derivative.state == Making.DUE, or_(free, ours))
        .values(
            epoch=Derivative.epoch + 1,
            attempts=Derivative.attempts + 1,
            lease_until=lease_end,
            republish_at=lease_end,
            worker=worker,
            agent_id=agent_id,
            task_id=task_id,
        )
        .returning(Derivative)
        .execution_options(**NO_SYNC)
    ).all()


def renew_derivatives(
    session: Session, claimed: Sequence[Derivative], lease_seconds: float
) -> bool:
    """Prolong a claim; False when any of it was lost."""
    lease_end = func.now() + timedelta(seconds=lease_seconds)
    return _change(session, claimed, lease_until=lease_end, republish_at=lease_end)


def release_derivatives(
    session: Session,
    claimed: Sequence[Derivative],
    error: Error,
    *,
    retry_in: float,
    blameless: bool,
) -> None:
    """Give claimed derivatives back, to be tried again after `retry_in` seconds."""
    _change(
        session,
        claimed,
        lease_until=None,
        republish_at=func.now() + timedelta(seconds=retry_in),
        attempts=Derivative.attempts - (1 if blameless else 0),
        reason=f"{error.code}: {error.message}"[:500],
    )


def finish_derivatives(
    session: Session, claimed: Sequence[Derivative], state: Making, **facts: Any
) -> bool:
    """End claimed derivatives; `facts` are columns. False when any claim of them was lost."""
    facts.setdefault("reason", None)
    return _change(session, claimed, state=state, lease_until=None, updated_at=func.now(), **facts)


def note_object(session: Session, claimed: Derivative, object_name: str) -> bool:
    """Note where a claimed derivative will be stored; False when the claim was lost."""
    return _change(session, [claimed], object_name=object_name)


def waiting_for(
    session: Session, *, limit: int, republish_seconds: float
) -> Sequence[Continuation]:
    """Callers of files that have a derivative due with nobody at it; marked as sent again."""
    free = or_(Derivative.lease_until.is_(None), Derivative.lease_until < func.now())
    late = (
        select(Derivative.id)
        .where(Derivative.state == Making.DUE, Derivative.republish_at < func.now(), free)
        .where(_is_awaited())
        .order_by(Derivative.republish_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    due = session.scalars(
        update(Derivative)
        .where(Derivative.id.in_(at_once(late)))
        .values(republish_at=func.now() + timedelta(seconds=republish_seconds))
        .returning(Derivative.transfer_id)
        .execution_options(**NO_SYNC)
    ).all()
    return session.scalars(
        select(Continuation)
        .where(Continuation.transfer_id.in_(set(due)), Continuation.settled_at.is_(None))
        .where(Continuation.steps.is_not(None))
    ).all()


def _is_awaited() -> ColumnElement[bool]:
    waits = (
        select(Continuation.task_id)
        .where(Continuation.transfer_id == Derivative.transfer_id)
        .where(Continuation.settled_at.is_(None), Continuation.steps.is_not(None))
    )
    return waits.exists()


def _change(session: Session, claimed: Sequence[Derivative], **values: Any) -> bool:
    """Change those that are still held; whether that was all of them."""
    changed = session.scalars(
        update(Derivative)
        .where(_held(claimed))
        .values(**values)
        .returning(Derivative.id)
        .execution_options(**NO_SYNC)
    ).all()
    return len(changed) == len(claimed)


def _held(claimed: Sequence[Derivative]) -> ColumnElement[bool]:
    ours = [(derivative.id, derivative.epoch) for derivative in claimed]
    return tuple_(Derivative.id, Derivative.epoch).in_(ours) & (Derivative.state == Making.DUE)


def _these(transfer_id: UUID, keys: Sequence[Key]) -> Select[Derivative]:
    return (
        select(Derivative)
        .where(Derivative.transfer_id == transfer_id)
        .where(tuple_(Derivative.kind, Derivative.parameters).in_(keys))
        .order_by(Derivative.created_at, Derivative.parameters)
    )
