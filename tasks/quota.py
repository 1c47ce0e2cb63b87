"""Quotas: the bytes that an agent may have in Storage, and those it may move in a day."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from argosy.errors import QuotaExceeded
from models import Agent
from models.moments import clock
from models.usage import alone_with, bytes_in_a_day, bytes_stored, room_in_a_day
from tasks.allowance import Allowance
from tasks.fleet import fleet

_ASK = "ask the fleet's operator for more"


def check_quota(
    session: Session, agent_id: UUID, name: str, size: int, *, stores: bool, entered: bool
) -> None:
    """Raise QuotaExceeded where the agent may not move `size` bytes more, or not store them.

    Where they are `entered`, in this transaction, they are among what is counted, and nobody
    else is told that there is room before it ends. A download does not store. Where the agent
    has no limit nothing is counted.
    """
    agent = session.get_one(Agent, agent_id)
    limits = Allowance.of(agent, fleet().settings)
    stored = limits.stored if stores else None
    if stored is None and limits.day is None:
        return
    alone_with(session, agent_id)
    counted = size if entered else 0
    if stored is not None:
        used = bytes_stored(session, agent_id) - counted
        if used + size > stored:
            raise _no_room(agent, name, size, used, stored)
    if limits.day is not None:
        used = bytes_in_a_day(session, agent_id) - counted
        if used + size > limits.day:
            again = room_in_a_day(session, agent_id, used + size - limits.day)
            raise _enough_for_today(agent, name, size, used, limits.day, again)


def _no_room(agent: Agent, name: str, size: int, used: int, limit: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"{name} has {size} bytes. Agent {agent.name} may have {limit} bytes in Storage, and "
        f"{used} of them are taken: delete files, or {_ASK}."
    )


def _enough_for_today(
    agent: Agent, name: str, size: int, used: int, limit: int, again: datetime | None
) -> QuotaExceeded:
    when = f"there is never room for so many; {_ASK}"
    if size <= limit and again:
        when = f"there is room again at {clock(again, datetime.now(UTC))}; or {_ASK}"
    return QuotaExceeded(
        f"{name} has {size} bytes. Agent {agent.name} may move {limit} bytes in 24 hours, and "
        f"has moved {used}: {when}."
    )
