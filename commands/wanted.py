"""Which transfers a list is to have."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argosy.info import Status

STATES = (
    *("queued", "planned", "moving", "assembling", "completed"),
    *("paused", "failed", "cancelled", "expired"),
)
KINDS = ("upload", "download", "copy", "batch")
"""As the machine has them: tests compare the two."""


@dataclass(frozen=True)
class Wanted:
    """Those of this agent, of these states and kinds, failed for this reason, asked for then.

    What is None or empty asks for nothing; `until` itself is not in.
    """

    agent: str | None = None
    states: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, one: Status) -> bool:
        """Whether the list has this one."""
        code = one.error.code if one.error else None
        asked = (
            (self.agent, one.agent == self.agent),
            (self.states, one.state in self.states),
            (self.kinds, one.kind in self.kinds),
            (self.reason, code == self.reason),
            (self.since, not self.is_past(one)),
            (self.until, not self.until or one.created_at < self.until),
        )
        return all(holds for wanted, holds in asked if wanted)

    def is_past(self, one: Status) -> bool:
        """Whether this one, and so all that are older, was asked for too long ago."""
        return self.since is not None and one.created_at < self.since


EVERYTHING = Wanted()
