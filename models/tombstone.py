"""Tombstones: what is remembered of a file that is gone from Storage, and who may be told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from models.agent import Agent, Role
from models.transfer import State, Transfer

EXPIRED = "expired"
"""Why: its time had ended."""
DELETED = "deleted"
"""Why: an agent has deleted it."""
MISSING = "object missing"
"""Why: its object was gone, and nobody had deleted it through the fleet."""
MOST_READERS = 1000
"""Grantees that one tombstone remembers."""


def tombstone(
    why: str, *, by: str, objects: int, size: int, readers: Iterable[str] = ()
) -> dict[str, Any]:
    """What the row of a removed file keeps.

    `by` is an agent's name or the task's, `objects` and `size` (bytes) are what Storage had of
    it, `readers` are the agents (by their ids) and roles that it was shared with.
    """
    return {
        "at": datetime.now(UTC).isoformat(),
        "why": why,
        "by": by,
        "objects": objects,
        "bytes": size,
        "readers": sorted(set(readers))[:MOST_READERS],
    }


def told(stone: Mapping[str, Any]) -> dict[str, Any]:
    """What of a tombstone may be told: not whom the file was shared with."""
    return {name: value for name, value in stone.items() if name != "readers"}


def is_going(transfer: Transfer) -> bool:
    """Whether a sweep has begun to remove the file, or its agent or a sweep has done so.

    What a sweep has claimed goes, also where that sweep was killed: another goes on.
    """
    claimed = transfer.state == State.COMPLETED and transfer.lease_until is not None
    return claimed or transfer.state == State.EXPIRED


def epitaph(transfer: Transfer, name: str | None = None) -> str:
    """What became of a file that is going or gone, in a sentence."""
    called, said = name or transfer.name, transfer.tombstone or {}
    if transfer.state != State.EXPIRED:
        return f"The time of {called} ended at {_moment(transfer.expires_at)}: it is being removed."
    at = _moment(datetime.fromisoformat(said["at"])) if "at" in said else "an unknown time"
    if said.get("why") == DELETED:
        return f"{called} was deleted by {said.get('by')} at {at}."
    if said.get("why") == MISSING:
        return f"{called} was found gone from Storage at {at}; the fleet has not removed it."
    return f"{called} was removed at {at}: its time had ended at {_moment(transfer.expires_at)}."


def may_know(transfer: Transfer, agent: Agent) -> bool:
    """Whether the agent is its owner or an admin, or the file was shared with it when it went."""
    readers = (transfer.tombstone or {}).get("readers", ())
    shared = str(agent.id) in readers or f"role:{agent.role}" in readers
    return agent.role == Role.ADMIN or transfer.agent_id == agent.id or shared


def _moment(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if at else "an unknown time"
