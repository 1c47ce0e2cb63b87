"""What the callers of a transfer are owed, and which messages are overdue."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Interval,
    Select,
    Update,
    Uuid,
    bindparam,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from models.act import Act
from models.base import NO_SYNC, table_of
from models.batch import at_once
from models.continuation import Continuation
from models.derivative import Derivative
from models.lane import Lane
from models.transfer import ENDED, State, Transfer

MOST_PUBLICATIONS = 30
"""An outcome that could not be recorded so often (for a day and more) never will be."""

_ROWS, _ACTS = table_of(Continuation), table_of(Act)


def add(
    session: Session,
    task_id: UUID,
    transfer_id: UUID,
    request: dict[str, Any],
    republish_seconds: float,
    **wanted: Any,
) -> bool:
    """Remember a caller, the same one twice as one; False if its id is used for something else.

    `wanted` are the columns that say what is done with the file for this caller.
    """
    row = {"task_id": task_id, "transfer_id": transfer_id, "request": request, **wanted}
    again = {"again": timedelta(seconds=republish_seconds)}
    if session.scalar(_adding(tuple(row)), row | again) is not None:
        return True
    found = session.get(Continuation, task_id)
    if found is None or found.transfer_id != transfer_id:
        return False
    return all(getattr(found, name) == value for name, value in wanted.items())


@cache
def _adding(columns: tuple[str, ...]) -> ReturningInsert[UUID]:
    given: dict[str, ColumnElement[Any]] = {
        name: bindparam(name, type_=_ROWS.c[name].type) for name in columns
    }
    given["republish_at"] = func.now() + bindparam("again", type_=Interval())
    is_act = select(_ACTS.c.id).where(_ACTS.c.id == bindparam("task_id")).exists()
    return (
        insert(_ROWS)
        .from_select(list(given), select(*given.values()).where(~is_act))
        .on_conflict_do_nothing()
        .returning(_ROWS.c.task_id)
    )


def settle(session: Session, task_id: UUID) -> None:
    """The result of an ended transfer is recorded for this caller: nothing more is owed."""
    session.execute(_settling(), {"of_task": task_id})


@cache
def _settling() -> Update:
    return (
        update(Continuation)
        .where(Continuation.task_id == bindparam("of_task"), Continuation.settled_at.is_(None))
        .where(Transfer.id == Continuation.transfer_id, Transfer.state.in_(ENDED))
        .values(settled_at=func.now())
        .execution_options(**NO_SYNC)
    )


def hand_over(session: Session, transfer_id: UUID, heir_id: UUID, republish_seconds: float) -> None:
    """Have all who waited for an ended transfer wait for the one that does it over again."""
    session.execute(
        update(Continuation)
        .where(Continuation.transfer_id == transfer_id)
        .values(
            transfer_id=heir_id,
            settled_at=None,
            publications=0,
            republish_at=func.now() + timedelta(seconds=republish_seconds),
        )
        .execution_options(**NO_SYNC)
    )


def first_caller(session: Session, transfer_id: UUID) -> Continuation | None:
    """The caller under whose task id the transfer is planned and assembled."""
    return session.get(Continuation, transfer_id)


def first_callers(
    session: Session, transfer_ids: Sequence[UUID]
) -> Sequence[tuple[Continuation, Lane]]:
    """The same of several transfers, with each one's lane."""
    found = session.execute(_first_callers(), {"of_transfers": transfer_ids})
    return [(caller, Lane(*lane)) for caller, *lane in found]


@cache
def _first_callers() -> Select[Continuation, str, str]:
    return (
        select(Continuation, Transfer.priority, Transfer.path)
        .join(Transfer, Transfer.id == Continuation.task_id)
        .where(Transfer.id.in_(bindparam("of_transfers", expanding=True)))
    )


def owed(session: Session, transfer_id: UUID, *, but: UUID | None = None) -> Sequence[Continuation]:
    """Callers of a transfer whose result is not recorded yet."""
    return session.scalars(_owed(), {"of_transfer": transfer_id, "but": but}).all()


@cache
def _owed() -> Select[Continuation]:
    return select(Continuation).where(
        Continuation.settled_at.is_(None),
        Continuation.transfer_id == bindparam("of_transfer"),
        Continuation.task_id.is_distinct_from(bindparam("but", type_=Uuid())),
    )


def due_continuations(
    session: Session, *, limit: int, republish_seconds: float
) -> Sequence[Continuation]:
    """Unsettled callers of ended transfers, marked as sent again."""
    late = (
        select(Continuation.task_id)
        .join(Transfer, Transfer.id == Continuation.transfer_id)
        .where(Continuation.settled_at.is_(None), Continuation.republish_at < func.now())
        .where(Transfer.state.in_(ENDED), Transfer.ended_at < _ago(republish_seconds))
        .where(Continuation.publications < MOST_PUBLICATIONS)
        .where(or_(Continuation.steps.is_(None), ~_is_worked_on()))
        .limit(limit)
        .with_for_update(of=Continuation, skip_locked=True)
    )
    return _publish_again(session, at_once(late), republish_seconds)


def due_assemblies(
    session: Session, *, limit: int, republish_seconds: float
) -> Sequence[Continuation]:
    """First callers of transfers that wait for assembly with nobody at it.

    It is the transfer that is marked as sent: the caller is owed nothing before it has ended.
    """
    late = _due_transfers((State.ASSEMBLING,), limit)
    due = _mark_sent(session, late, republish_seconds)
    return session.scalars(select(Continuation).where(Continuation.task_id.in_(due))).all()


def due_plans(session: Session, *, limit: int, republish_seconds: float) -> Sequence[UUID]:
    """Transfers whose turn it is, with nobody at it, marked as sent again."""
    late = _due_transfers((State.QUEUED,), limit).where(Transfer.admitted_at.is_not(None))
    return list(_mark_sent(session, late, republish_seconds))


def due_cleanups(session: Session, *, limit: int, republish_seconds: float) -> Sequence[UUID]:
    """Failed and cancelled transfers that may have left something behind.

    The wait doubles: each time it is as long as the transfer has been over.
    """
    late = (
        select(Transfer.id)
        .where(Transfer.state.in_((State.FAILED, State.CANCELLED)), Transfer.cleaned_at.is_(None))
        .where(Transfer.republish_at < func.now())
        .order_by(Transfer.republish_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    age = func.greatest(func.now() - Transfer.ended_at, timedelta(seconds=republish_seconds))
    return session.scalars(
        update(Transfer)
        .where(Transfer.id.in_(at_once(late)))
        .values(republish_at=func.now() + age)
        .returning(Transfer.id)
        .execution_options(**NO_SYNC)
    ).all()


def _is_worked_on() -> ColumnElement[bool]:
    """Whether somebody makes a derivative of the file: who waits hears of it then."""
    held = select(Derivative.id).where(
        Derivative.transfer_id == Continuation.transfer_id, Derivative.lease_until > func.now()
    )
    return held.exists()


def _ago(seconds: float) -> ColumnElement[Any]:
    return func.now() - timedelta(seconds=seconds)


def _due_transfers(states: tuple[State, ...], limit: int) -> Select[UUID]:
    return (
        select(Transfer.id)
        .where(Transfer.state.in_(states), Transfer.republish_at < func.now())
        .where(or_(Transfer.lease_until.is_(None), Transfer.lease_until < func.now()))
        .order_by(Transfer.republish_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


def _mark_sent(session: Session, late: Select[UUID], republish_seconds: float) -> Sequence[UUID]:
    return session.scalars(
        update(Transfer)
        .where(Transfer.id.in_(at_once(late)))
        .values(republish_at=func.now() + timedelta(seconds=republish_seconds))
        .returning(Transfer.id)
        .execution_options(**NO_SYNC)
    ).all()


def _publish_again(
    session: Session, task_ids: Select[UUID], republish_seconds: float
) -> Sequence[Continuation]:
    wait = republish_seconds * func.power(2.0, func.least(Continuation.publications, 6))
    return session.scalars(
        update(Continuation)
        .where(Continuation.task_id.in_(task_ids))
        .values(
            publications=Continuation.publications + 1,
            republish_at=func.now() + func.make_interval(0, 0, 0, 0, 0, 0, wait),
        )
        .returning(Continuation)
        .execution_options(**NO_SYNC)
    ).all()
