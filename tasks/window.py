"""How many chunk messages of a transfer are in the queue at once."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from models import Agent
from tasks.allowance import Allowance
from tasks.fleet import fleet

BYTES_PER_SECOND = 64_000_000
"""Of its rate, for which an agent's transfer has one more part on its way."""


def window_of(session: Session, agent_id: UUID) -> int:
    """The fleet's window; less for an agent whose rate is limited.

    Its parts would wait for each other, each with a worker's process that others need.
    """
    settings = fleet().settings
    rate = Allowance.of(session.get_one(Agent, agent_id), settings).rate
    return settings.window if rate is None else min(settings.window, 1 + rate // BYTES_PER_SECOND)
