"""When to try again: full jitter, Retry-After, and an end to it."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from argosy.errors import Error

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often, how long apart and for how long one call is repeated.

    The pause before attempt n+1 is random between 0 and base x 2^(n-1) seconds, at
    most `cap_seconds`, and not less than the server's Retry-After (up to the cap).
    No attempt starts later than `deadline_seconds` after the first failure.
    `sleep` may be replaced by one that wakes early; `left` says how many seconds the whole
    work still has, and no request is silent for longer than that; `check` raises once the whole
    work is called off, and a request that waits asks it again and again; `on_retry` hears the
    error that is about to be retried and the pause.
    """

    attempts: int = 6
    base_seconds: float = 0.25
    cap_seconds: float = 10.0
    deadline_seconds: float = 120.0
    sleep: Callable[[float], object] = time.sleep
    left: Callable[[], float] = lambda: math.inf
    check: Callable[[], object] = lambda: None
    on_retry: Callable[[Error, float], None] | None = None

    def run(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns; its last error when the budget is spent.

        Only an error that is `retryable` is repeated.
        """
        budget = Budget(self)
        while True:
            try:
                return attempt()
            except Error as error:
                budget.spend(error)

    def pause(self, failures: int, retry_after: float | None) -> float:
        """Seconds to wait after this many failures in a row."""
        ceiling = min(self.cap_seconds, self.base_seconds * 2.0 ** (failures - 1))
        jittered = random.uniform(0, ceiling)  # noqa: S311 - spreads load, hides nothing
        return max(jittered, min(retry_after or 0.0, self.cap_seconds))


class Budget:
    """What is left of a policy during one call."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.renew()

    def renew(self) -> None:
        """Start anew: the last attempt got somewhere."""
        self._failures = 0
        self._first_failure = 0.0

    def spend(self, error: Error) -> None:
        """Wait before the next attempt, or raise `error` if there is to be none."""
        now = time.monotonic()
        self._first_failure = self._first_failure or now
        self._failures += 1
        pause = self._policy.pause(self._failures, error.retry_after)
        if not error.retryable or self._is_over(now + pause):
            raise error
        log.info("storage.retry", extra={"error": str(error), "pause_seconds": round(pause, 3)})
        if self._policy.on_retry:
            self._policy.on_retry(error, pause)
        self._policy.sleep(pause)

    def _is_over(self, next_start: float) -> bool:
        too_often = self._failures >= self._policy.attempts
        return too_often or next_start > self._first_failure + self._policy.deadline_seconds
