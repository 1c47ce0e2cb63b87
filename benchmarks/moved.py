"""When transfers were accepted, begun and completed, as the database has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.deployment import Deployment

_ROWS = """
SELECT path, extract(epoch FROM created_at), extract(epoch FROM started_at),
    extract(epoch FROM ended_at)
FROM argosy.transfers
WHERE agent_id = :agent AND created_at >= to_timestamp(:since) AND ended_at IS NOT NULL
"""


@dataclass(frozen=True)
class Moved:
    """A transfer of the spool's file `path`; times are seconds since 1970."""

    path: str
    created: float
    started: float
    ended: float


def moved_since(made: Deployment, since: float) -> Sequence[Moved]:
    """The agent's that have ended, and were accepted after that second."""
    rows = made.query(_ROWS, agent=made.agent_id, since=since)
    return [
        Moved(path, float(at), float(start or end), float(end)) for path, at, start, end in rows
    ]
