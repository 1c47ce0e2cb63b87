"""How fast bytes may move: for the whole fleet, and for each agent, however many workers there are.

A process takes bytes from the buckets in slabs, ahead of moving them, so that Valkey is asked
some tens of times a second at most. While Valkey is away each process keeps to the rates alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from threading import Lock
from typing import Protocol
from uuid import UUID

import structlog
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from argosy.storage.body import BLOCK_BYTES
from tasks.buckets import OwnBuckets

log = structlog.get_logger(__name__)

FLEET = "fleet"
"""Name of the bucket of all that moves; each agent's has its id."""
SLAB_SECONDS = 0.05
"""A slab is what may move in this time; no more than one is held without being moved."""
LEAST_BYTES, MOST_BYTES = 16 * 1024, 16 * 1024 * 1024
"""Of a slab."""
KNOWN_SECONDS = 30.0
"""How long an agent's rate is taken as known."""
AWAY_SECONDS = 5.0
"""How long Valkey is left alone after it did not answer."""

Rates = Mapping[str, int]
"""Bytes a second, by bucket: of those that have a limit."""


class Buckets(Protocol):
    """Where bytes are taken from."""

    def take(self, count: int, rates: Rates) -> float:
        """Take so many bytes of each; returns the seconds until they may move."""
        ...


class Throttle:
    """The paces of everything that one process moves. Any number of threads may use it.

    `fleet_rate`, and what `rate_of` answers for an agent, are bytes a second, None for no limit;
    `agents_rate` stands in while `rate_of` raises SQLAlchemyError from the beginning.
    """

    def __init__(
        self,
        buckets: Buckets,
        rate_of: Callable[[UUID], int | None],
        *,
        fleet_rate: int | None = None,
        agents_rate: int | None = None,
    ) -> None:
        self._buckets = Patient(buckets)
        self._rate_of = rate_of
        self._fleet_rate, self._agents_rate = fleet_rate, agents_rate
        self._paces: dict[UUID, Pace] = {}

    def pace(self, agent_id: UUID) -> Pace:
        """Of what moves for one agent."""
        self._paces = {one: pace for one, pace in self._paces.items() if pace.is_known}
        at_first = self._rates(agent_id, self._agents_rate)
        made = Pace(self._buckets, lambda: self._rates(agent_id, self._rate_of(agent_id)), at_first)
        return self._paces.setdefault(agent_id, made)

    def _rates(self, agent_id: UUID, rate: int | None) -> Rates:
        rates = {FLEET: self._fleet_rate, str(agent_id): rate}
        return {bucket: most for bucket, most in rates.items() if most is not None}


class Pace:
    """How fast one process moves bytes for one agent.

    The rates are looked up now and then, also in the middle of a file; while that raises
    SQLAlchemyError they are what they were.
    """

    def __init__(self, buckets: Buckets, look_up: Callable[[], Rates], rates: Rates) -> None:
        self._buckets = buckets
        self._look_up = look_up
        self._rates = rates
        self._known_until = 0.0
        self._left = 0
        self._lock = Lock()

    @property
    def is_known(self) -> bool:
        """Whether the rates need not be looked up now."""
        return time.monotonic() < self._known_until

    @property
    def rate(self) -> int | None:
        """Bytes a second that may move, by the tightest limit; None where there is none."""
        if not self.is_known:
            self._known_until = time.monotonic() + KNOWN_SECONDS
            try:
                self._rates = self._look_up()
            except SQLAlchemyError as error:
                log.warning("throttle.rate_not_read", error=type(error).__name__)
        return min(self._rates.values(), default=None)

    @property
    def block_bytes(self) -> int:
        """How many bytes to move at once, so that a slow rate is smooth all the same."""
        rate = self.rate
        return BLOCK_BYTES if rate is None else _within(rate * SLAB_SECONDS, BLOCK_BYTES)

    def delay(self, count: int) -> float:
        """Seconds to wait, now that so many bytes have moved, until the next ones may."""
        with self._lock:
            rate = self.rate
            if rate is None:
                return 0.0
            self._left -= count
            if self._left >= 0:
                return 0.0
            taken = max(-self._left, _within(rate * SLAB_SECONDS, MOST_BYTES))
            self._left += taken
            return self._buckets.take(taken, self._rates)


def _within(count: float, most: int) -> int:
    return max(LEAST_BYTES, min(most, int(count)))


class Patient:
    """The fleet's buckets; the process's own while those cannot be reached."""

    def __init__(self, shared: Buckets) -> None:
        self._shared = shared
        self._own = OwnBuckets()
        self._alone_until = 0.0

    def take(self, count: int, rates: Rates) -> float:
        """As `Buckets.take`; never fails."""
        if time.monotonic() >= self._alone_until:
            try:
                return self._shared.take(count, rates)
            except (RedisError, OSError) as error:
                log.warning("throttle.alone", error=type(error).__name__)
                self._alone_until = time.monotonic() + AWAY_SECONDS
        return self._own.take(count, rates)
