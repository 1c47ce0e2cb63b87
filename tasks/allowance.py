"""What an agent may take of the fleet: its own limits, and the fleet's where it has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from argosy.settings import FleetSettings
from models import Agent


@dataclass(frozen=True)
class Allowance:
    """Bytes that are stored, bytes in 24 hours, transfers at once, bytes a second.

    None is no limit; of transfers at once, its fair share.
    """

    stored: int | None
    day: int | None
    at_once: int | None
    rate: int | None

    @classmethod
    def of(cls, agent: Agent, settings: FleetSettings) -> Self:
        """Those that hold for an agent."""
        return cls(
            stored=_first(agent.max_bytes, settings.agent_bytes),
            day=_first(agent.max_bytes_per_day, settings.agent_bytes_per_day),
            at_once=_first(agent.max_transfers, settings.agent_transfers),
            rate=_first(agent.bytes_per_second, settings.agent_bytes_per_second),
        )


def _first(own: int | None, of_all: int | None) -> int | None:
    return of_all if own is None else own
