"""A round of forgetting: what ended long ago goes from the books, batch by batch.

Between two batches a worker may die: what it has removed is gone, and the next round finds the
rest. Two rounds at once share the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Self
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from models import rounds
from models.dead_letters import drop_old
from models.forgetting import (
    MANY,
    Forgotten,
    Key,
    agents_from,
    forget_acts,
    forget_events,
    forget_rounds,
    forget_transfers,
    history_days,
)
from tasks.fleet import fleet
from tasks.leaving import leaving

log = structlog.get_logger(__name__)

NAME = "forget"
"""Of its rows in `rounds`."""
FIRST_AGENT = UUID(int=0)
FIRST_EVENT: Key = (datetime(1, 1, 1, tzinfo=UTC), 0)


@dataclass(frozen=True)
class Place:
    """Where a round has come to: behind this transfer of an agent's, or behind this event.

    The events come once there is no agent left.
    """

    agent: UUID | None
    last: Key | None = None

    def words(self) -> Sequence[str]:
        """As a message carries it."""
        at, key = self.last or FIRST_EVENT
        return [str(self.agent or ""), at.isoformat(), str(key)]

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """What `words` has made. Raises ValueError."""
        agent, at, key = words
        if agent:
            return cls(UUID(agent), (datetime.fromisoformat(at), UUID(key)))
        return cls(None, (datetime.fromisoformat(at), int(key)))


@dataclass
class Counts:
    """What went, in rows."""

    transfers: int = 0
    events: int = 0
    letters: int = 0
    acts: int = 0
    rounds: int = 0


@dataclass
class Forgetting:
    """One round, which begins further batches for `seconds`, unless its worker has to go before.

    `after` is where it begins.
    """

    seconds: float = float("inf")
    after: Place | None = None
    counts: Counts = field(default_factory=Counts)

    def run(self) -> Place | None:
        """Forget; returns where another round should go on, or None where all was looked at."""
        self._until = time.monotonic() + self.seconds
        self._days = fleet().transact(history_days)
        if self._days == 0:
            return None
        number = fleet().transact(lambda session: rounds.begin(session, NAME))
        if self.after is None:
            self._forget_small_rows()
        more = self._forget_from(self.after or Place(FIRST_AGENT))
        counts = asdict(self.counts)
        fleet().transact(lambda session: rounds.note(session, number, counts, ended=True))
        log.info("history.forgotten", more=more is not None, **counts)
        return more

    def _forget_small_rows(self) -> None:
        days, counts = self._days, self.counts
        counts.letters = _all(lambda session: drop_old(session, days=days, limit=MANY))
        counts.acts = _all(lambda session: forget_acts(session, days))
        counts.rounds = _all(lambda session: forget_rounds(session, days))

    def _forget_from(self, begin: Place) -> Place | None:
        return next((place for place in self._places(begin) if self._is_late()), None)

    def _places(self, begin: Place) -> Iterator[Place]:
        """Forget batch by batch, and say after each where that has come to."""
        if begin.agent is not None:
            yield from self._forget_transfers(begin.agent, begin.last)
            begin = Place(None)
        yield from self._forget_events(begin.last or FIRST_EVENT)

    def _forget_transfers(self, first: UUID, after: Key | None) -> Iterator[Place]:
        for agent in fleet().transact(lambda session: agents_from(session, first)):
            last = after if agent == first else None
            while (batch := self._transfers_behind(agent, last)).last:
                self.counts.transfers += batch.gone
                last = batch.last
                yield Place(agent, last)

    def _transfers_behind(self, agent: UUID, last: Key | None) -> Forgotten:
        return fleet().transact(lambda session: forget_transfers(session, agent, self._days, last))

    def _forget_events(self, last: Key) -> Iterator[Place]:
        while (batch := self._events_behind(last)).last:
            self.counts.events += batch.gone
            last = batch.last
            yield Place(None, last)

    def _events_behind(self, last: Key) -> Forgotten:
        return fleet().transact(lambda session: forget_events(session, last))

    def _is_late(self) -> bool:
        return leaving.now or time.monotonic() > self._until


def _all(work: Callable[[Session], int]) -> int:
    """Batch after batch, until one is not full."""
    total = 0
    while True:
        gone = fleet().transact(work)
        total += gone
        if gone < MANY:
            return total
