"""What agents take up, and how near they are to what they may: of those that have the most."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import structlog
from prometheus_client.core import Metric
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from argosy.settings import FleetSettings
from models import Agent
from models.usage import stored_by_agent
from tasks.allowance import Allowance
from worker.looks import look

log = structlog.get_logger(__name__)

TOP = 20
"""Agents that are named; the others are one."""
OTHERS = "others"
EVERY_SECONDS = 60.0
"""How often it is looked up: the index of every transfer is read for it."""


class Used(NamedTuple):
    """What one agent has in Storage, and may have."""

    agent: str
    size: int
    limit: int | None

    @property
    def share(self) -> float:
        """Of what it may have."""
        return self.size / self.limit if self.limit else 0.0


class AgentsUsage:
    """Storage by agent, looked up now and then."""

    def __init__(self, settings: FleetSettings) -> None:
        self._settings = settings
        self._found: Sequence[Used] = ()
        self._again_at = 0.0

    def __call__(self, session: Session) -> Iterator[Metric]:
        """The metrics."""
        if time.monotonic() >= self._again_at:
            self._again_at = time.monotonic() + EVERY_SECONDS
            self._look_again(session)
        most = sorted(self._found, key=lambda one: one.size, reverse=True)
        sizes = {(one.agent,): float(one.size) for one in most[:TOP]}
        if most[TOP:]:
            sizes[(OTHERS,)] = sum(one.size for one in most[TOP:])
        yield look("agent_stored_bytes", sizes)
        nearest = sorted(self._found, key=lambda one: one.share, reverse=True)
        shares = {(one.agent,): one.share for one in nearest[:TOP] if one.limit}
        yield look("agent_quota_used_ratio", shares)

    def _look_again(self, session: Session) -> None:
        """Where that takes too long, what was found before stands, and so do the other metrics."""
        try:
            with session.begin_nested():
                self._found = self._look_up(session)
        except DBAPIError as error:
            log.warning("metrics.usage_not_looked_up", error=type(error.orig).__name__)

    def _look_up(self, session: Session) -> list[Used]:
        sizes = stored_by_agent(session)
        return [
            Used(
                agent.name, sizes.get(str(agent.id), 0), Allowance.of(agent, self._settings).stored
            )
            for agent in session.scalars(select(Agent))
        ]
