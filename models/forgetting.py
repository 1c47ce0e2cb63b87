"""What has ended long ago is forgotten, batch by batch; each batch is one transaction.

Two at once share the work: what one has locked, the other leaves out. How long the past is kept
is in the database, where the fleet cannot change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    and_,
    cast,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from models.act import Act
from models.agent import Agent
from models.batch import at_once
from models.continuation import Continuation
from models.derivative import Derivative, Making
from models.pin import Pin
from models.round import Round
from models.transfer import ENDED, FILES, Kind, State, Transfer

BATCH = 200
"""Transfers of one transaction; each may have 10,000 chunks."""
MANY = 2000
"""Small rows of one transaction."""
_NO_SYNC = {"synchronize_session": False}


Key = tuple[datetime, UUID | int]
"""The time and the id of a row."""


@dataclass(frozen=True)
class Forgotten:
    """What came of a batch: how many rows have `gone`, and the `last` that was looked at.

    The next batch begins behind that one; None where there was nothing left to look at.
    """

    gone: int = 0
    last: Key | None = None


def history_days(session: Session) -> float:
    """Days for which what has ended is remembered; 0 is for ever."""
    return float(session.scalars(text("SELECT argosy.history_days()")).one())


def agents_from(session: Session, first: UUID) -> Sequence[UUID]:
    """This agent and those behind it, in the order of their ids."""
    return session.scalars(select(Agent.id).where(Agent.id >= first).order_by(Agent.id)).all()


def forget_transfers(session: Session, agent_id: UUID, days: float, after: Key | None) -> Forgotten:
    """Remove an agent's next transfers that ended so long ago, with all that hangs on their rows.

    The rows are locked first, and only then is looked what refers to them.
    """
    page = _old(agent_id, days).order_by(Transfer.created_at, Transfer.id).limit(BATCH)
    if after is not None:
        behind = tuple_(Transfer.created_at, Transfer.id) > tuple_(*map(literal, after))
        page = page.where(behind)
    locked = session.execute(page.with_for_update(of=Transfer, skip_locked=True)).all()
    if not locked:
        return Forgotten()
    free = select(Transfer.id).where(Transfer.id.in_([row.id for row in locked]), ~_is_needed())
    gone = delete(Transfer).where(Transfer.id.in_(session.scalars(free).all()))
    went = session.scalars(gone.returning(Transfer.id).execution_options(**_NO_SYNC)).all()
    return Forgotten(len(went), (locked[-1].created_at, locked[-1].id))


def _old(agent_id: UUID, days: float) -> Select[*tuple[Any, ...]]:
    """Ended transfers that stand for no file and have left nothing to clean; the oldest rows first.

    By `ix_transfers_agent`: what was over so long ago was asked for before that.
    """
    before = func.now() - timedelta(days=days)
    buried = cast(Transfer.tombstone["at"].astext, DateTime(timezone=True))
    held = Transfer.lease_until > func.now()
    return select(Transfer.id, Transfer.created_at).where(
        Transfer.agent_id == agent_id,
        Transfer.created_at < before,
        func.greatest(Transfer.ended_at, Transfer.cleaned_at, buried) < before,
        func.coalesce(~held, True),
        or_(
            and_(Transfer.state == State.COMPLETED, Transfer.kind.not_in(FILES)),
            and_(
                Transfer.state.in_((State.FAILED, State.CANCELLED)),
                Transfer.cleaned_at.is_not(None),
            ),
            Transfer.state == State.EXPIRED,
        ),
    )


def _is_needed() -> ColumnElement[bool]:
    """Whether something refers to a transfer: one on its way, a message, a caller, an object."""
    live = aliased(Transfer)
    on_its_way = live.state.in_(sorted(set(State) - ENDED))
    origin, source = live.copied_from["bucket"].astext, live.copied_from["path"].astext
    same_place = (live.bucket == Transfer.bucket, live.object_name == Transfer.object_name)
    copied = (origin == Transfer.bucket, source == Transfer.object_name, live.kind == Kind.COPY)
    kept = (Making.DUE, Making.MADE)
    return or_(
        exists().where(live.retry_of == Transfer.id, on_its_way),
        exists().where(on_its_way, *same_place),
        exists().where(on_its_way, *copied),
        exists().where(Pin.bucket == Transfer.bucket, Pin.path == Transfer.object_name),
        exists().where(Continuation.transfer_id == Transfer.id, Continuation.settled_at.is_(None)),
        exists().where(
            Derivative.transfer_id == Transfer.id,
            Derivative.state.in_(kept),
            Derivative.object_name.is_not(None),
        ),
    )


def forget_events(session: Session, after: Key) -> Forgotten:
    """Remove the next events that are as old, of transfers that have no row any more.

    By a function of the owner's: the fleet may only add to the audit.
    """
    query = text("SELECT * FROM argosy.forget_events(:at, :id, :many)")
    row = session.execute(query, {"at": after[0], "id": after[1], "many": MANY}).one()
    return Forgotten(row.gone, None if row.last_at is None else (row.last_at, row.last_id))


def forget_acts(session: Session, days: float) -> int:
    """Remove requests of so long ago that were done at once; returns how many went."""
    return _drop(session, Act.id, Act.at < func.now() - timedelta(days=days))


def forget_rounds(session: Session, days: float) -> int:
    """Remove rounds of so long ago, but for the last of each name; returns how many went."""
    newest = select(func.max(Round.id)).where(Round.ended_at.is_not(None)).group_by(Round.name)
    old = Round.started_at < func.now() - timedelta(days=days)
    return _drop(session, Round.id, and_(old, Round.id.not_in(newest)))


def _drop(session: Session, key: InstrumentedAttribute[Any], is_old: ColumnElement[bool]) -> int:
    batch = select(key).where(is_old).limit(MANY).with_for_update(skip_locked=True)
    gone = delete(key.class_).where(key.in_(at_once(batch))).returning(key)
    return len(session.scalars(gone.execution_options(**_NO_SYNC)).all())
