"""How far a transfer is: told to whoever asked, truly and not too often."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from argosy.errors import Error

log = logging.getLogger(__name__)


class Subscriber:
    """Override what you want to hear. What a method raises is logged, and the transfer goes on.

    The methods are called from the transfer's own threads, one at a time for each transfer.
    """

    def on_queued(self, transfer_id: str, name: str, bytes_total: int | None) -> None:
        """The transfer begins; `bytes_total` is None for a stream of unknown length."""

    def on_progress(
        self, bytes_done: int, bytes_total: int | None, rate: float, eta: float | None
    ) -> None:
        """Bytes that have arrived; `rate` in bytes a second, `eta` in seconds."""

    def on_done(self, result: Any) -> None:
        """It is done; `result` is what the call returns."""

    def on_error(self, error: Error) -> None:
        """It has failed with this."""


class Meter:
    """Counts the bytes of one transfer for its subscribers.

    Bytes that are sent again are taken back first, by a negative count. What is
    told never goes back: a repetition is silent until it is past where it began.
    """

    def __init__(
        self,
        subscribers: Sequence[Subscriber],
        *,
        every_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subscribers = subscribers
        self._every_seconds = every_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._done = self._told = self._resumed = 0
        self._total: int | None = None
        self._began = self._told_at = clock()
        self._broken: set[int] = set()

    @property
    def total(self) -> int | None:
        """Bytes in all, if known."""
        return self._total

    def begin(self, transfer_id: str, name: str, total: int | None, *, done: int = 0) -> None:
        """The transfer begins, with `done` bytes there from an earlier try."""
        self._total, self._done, self._resumed = total, done, done
        self._began = self._told_at = self._clock()
        self._tell("on_queued", transfer_id, name, total)

    def add(self, count: int) -> None:
        """So many bytes more have gone by; fewer, when negative."""
        with self._lock:
            self._done += count
            now = self._clock()
            is_due = self._done > self._told and now - self._told_at >= self._every_seconds
            if not is_due:
                return
            self._told_at = now
        self._report()

    def reached(self, done: int, total: int | None) -> None:
        """So many bytes are there by now: of a transfer that others carry."""
        self._total = total if total is not None else self._total
        self.add(done - self._done)

    def done(self, result: Any, size: int) -> None:
        """It is done: the last report is exact."""
        with self._lock:
            is_news = self._total != size or size > self._told or not self._told
            self._done = self._total = size
        if is_news:
            self._report()
        self._tell("on_done", result)

    def failed(self, error: Error) -> None:
        """It has failed."""
        self._tell("on_error", error)

    def _report(self) -> None:
        with self._telling:
            with self._lock:
                done = self._done
                if done < self._told:
                    return
                self._told = done
                seconds = self._clock() - self._began
            rate = (done - self._resumed) / seconds if seconds > 0 else 0.0
            left = None if self._total is None else self._total - done
            eta = left / rate if left is not None and rate > 0 else None
            self._call("on_progress", done, self._total, rate, eta)

    def _tell(self, method: str, *arguments: Any) -> None:
        with self._telling:
            self._call(method, *arguments)

    def _call(self, method: str, *arguments: Any) -> None:
        for number, subscriber in enumerate(self._subscribers):
            try:
                getattr(subscriber, method)(*arguments)
            except Exception:  # the user's code; whatever it is, the transfer goes on
                if number not in self._broken:  # once: it may be called a thousand times
                    self._broken.add(number)
                    log.exception("subscriber.failed", extra={"method": method})
