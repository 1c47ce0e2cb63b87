"""A claim that is kept alive while the work goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

import structlog
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger(__name__)

WATCH_SECONDS = 3.0
"""Longest time in which a worker does not notice that its work is not wanted any more."""


class LeaseLost(Exception):
    """Somebody else has the work now, or it is no longer wanted: stop, change nothing."""


class Lease:
    """Renews a claim of `seconds` from a thread until the work is done.

    A process that stands still stops renewing, so its work goes to another;
    its own claim is stale then: it changes nothing, and `check` says so as soon
    as the process goes on. Where `check` was not called for `at_most` seconds renewing
    stops too: the work is stuck.
    """

    def __init__(self, renew: Callable[[], bool], seconds: float, at_most: float = 1500) -> None:
        self._renew = renew
        self._seconds = seconds
        self._every = min(seconds / 3, WATCH_SECONDS)
        self._at_most = at_most
        self._checked_at = time.monotonic()
        self._stands_until = time.monotonic() + seconds
        self._done = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def check(self, _moved: int = 0) -> None:
        """Raise LeaseLost once the claim was lost or ran out; called with every block."""
        self._checked_at = time.monotonic()
        if self._lost.is_set() or time.monotonic() > self._stands_until:
            raise LeaseLost

    def _keep(self) -> None:
        while not self._done.wait(self._every):
            if time.monotonic() - self._checked_at > self._at_most:
                return
            asked_at = time.monotonic()
            try:
                if not self._renew():
                    self._lost.set()
                    return
                self._stands_until = asked_at + self._seconds
            except SQLAlchemyError as error:  # the database is away: the claim may outlast that
                log.warning("lease.not_renewed", error=type(error).__name__)
