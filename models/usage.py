"""What an agent takes up: bytes that are in Storage, and bytes that were moved for it in a day.

What is planned counts as if it had arrived, so that two plans cannot both have the last bytes.
Files that are gone do not count as stored, and what failed counts as far as it had come.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Select,
    SQLColumnExpression,
    cast,
    func,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from models.derivative import Derivative, Making
from models.transfer import STORES, Kind, State, Transfer

DAY = timedelta(hours=24)
Sizes = Select[*tuple[Any, ...]]
"""A query of `size`, and of when it `began`."""
_HERE = (State.PLANNED, State.MOVING, State.ASSEMBLING, State.COMPLETED)
"""States in which a file takes up room; a paused one does where it was planned before."""
_SIZE = func.coalesce(Transfer.stored_size, Transfer.size, 0)
"""Bytes of the object; of one that is compressed on its way, of its file until that is known."""


def alone_with(session: Session, agent_id: UUID) -> None:
    """Have nobody else count or plan for this agent before the transaction ends."""
    lock = func.hashtextextended(f"argosy usage {agent_id}", 0)
    session.execute(select(func.pg_advisory_xact_lock(lock)))


def bytes_stored(session: Session, agent_id: UUID) -> int:
    """Bytes of an agent's files and of what was made of them, with those on their way."""
    stores = Transfer.kind.in_(sorted(STORES))
    files = [query.where(stores) for query in _planned(agent_id, _HERE)]
    return _total(session, [*files, _derived(agent_id)])


def stored_by_agent(session: Session) -> dict[str, int]:
    """The same by the ids of all agents, from indexes alone; what is paused is left out."""
    there = (Transfer.state.in_(_HERE), Transfer.kind.in_(sorted(STORES)))
    files = select(Transfer.agent_id, func.sum(_SIZE)).where(*there).group_by(Transfer.agent_id)
    folder = func.split_part(Derivative.object_name, "/", 1)
    made = (Derivative.state == Making.MADE, Derivative.object_name.is_not(None))
    derived = select(folder, func.sum(Derivative.size)).where(*made).group_by(folder)
    sizes: dict[str, int] = {}
    for agent_id, size in (*session.execute(files), *session.execute(derived)):
        sizes[str(agent_id)] = sizes.get(str(agent_id), 0) + int(size or 0)
    return sizes


def bytes_in_a_day(session: Session, agent_id: UUID) -> int:
    """Bytes that were moved for an agent, or are about to be, in the last 24 hours."""
    return _total(session, _lately(agent_id))


def room_in_a_day(session: Session, agent_id: UUID, too_many: int) -> datetime | None:
    """When at least so many of these bytes are 24 hours past; None if they are not that many."""
    moved = union_all(*_lately(agent_id)).subquery()
    past = cast(func.sum(moved.c.size).over(order_by=moved.c.began), BigInteger)
    each = select(moved.c.began, past.label("past")).subquery()
    began = session.scalar(select(func.min(each.c.began)).where(each.c.past >= too_many))
    return began + DAY if began else None


def _planned(agent_id: UUID, states: Iterable[State]) -> list[Sizes]:
    """Transfers of an agent in these states, and those that were paused after they were planned.

    Apart from each other: all of the first is in `ix_transfers_usage`.
    """
    paused = _of(agent_id, [State.PAUSED]).where(Transfer.chunks_left.is_not(None))
    return [_of(agent_id, states), paused]


def _lately(agent_id: UUID) -> list[Sizes]:
    """What was moved in the last 24 hours; what came to nothing, as far as it had come."""
    all_of_it = _planned(agent_id, (*_HERE, State.EXPIRED))
    in_part = _of(agent_id, (State.FAILED, State.CANCELLED), Transfer.bytes_done)
    in_part = in_part.where(Transfer.kind != Kind.BATCH)  # what it moved has rows of its own
    lately = Transfer.started_at > func.now() - DAY
    return [query.where(lately) for query in (*all_of_it, in_part)]


def _of(agent_id: UUID, states: Iterable[State], size: SQLColumnExpression[int] = _SIZE) -> Sizes:
    query: Sizes = select(size.label("size"), Transfer.started_at.label("began"))
    return query.where(Transfer.agent_id == agent_id, Transfer.state.in_(states))


def _derived(agent_id: UUID) -> Sizes:
    """What was made of an agent's files lies in its folder, whoever asked for it."""
    in_its_folder = Derivative.object_name.like(f"{agent_id}/%")
    size = func.coalesce(Derivative.size, 0).label("size")
    return select(size).where(Derivative.state == Making.MADE, in_its_folder)


def _total(session: Session, queries: Iterable[Sizes]) -> int:
    """The sum of their sizes; each query with an index of its own."""
    listed = [query.subquery() for query in queries]
    sums = [func.coalesce(select(func.sum(one.c.size)).scalar_subquery(), 0) for one in listed]
    return int(sum(session.execute(select(*sums)).one()))
