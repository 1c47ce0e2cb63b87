"""A claim that is kept alive while the work goes on."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import ClassVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from argosy.storage.body import BLOCK_BYTES, Body
from models.handing_back import LEFT
from tasks.leaving import leaving
from tasks.measures import Way, moved_bytes
from tasks.throttle import Pace

log = structlog.get_logger(__name__)

WATCH_SECONDS = 3.0
"""Longest time in which a worker does not notice that its work is not wanted any more."""
PASS_SECONDS = 1200
"""How long one message may be at a file: the broker waits half an hour for it to be done."""


class LeaseLost(Exception):
    """Somebody else has the work now, or it is no longer wanted: stop, change nothing."""

    why: ClassVar[str] = "The lease was lost."
    """What the row says of it."""


class HandBack(LeaseLost):
    """This worker is asked to end, and its grace is over: somebody else does the work."""

    why = LEFT


class OutOfTime(LeaseLost):
    """A pass has taken as long as it may: the work goes on under another message, or ends."""

    why = "It takes longer than one message may: another one goes on with it."


class Lease:
    """Renews a claim of `seconds` from a thread until the work is done.

    A process that stands still stops renewing, so its work goes to another;
    its own claim is stale then: it changes nothing, and `check` says so as soon
    as the process goes on. Where `check` was not called for `at_most` seconds renewing
    stops too: the work is stuck. With a `pace`, what moves keeps to it.
    """

    def __init__(
        self,
        renew: Callable[[], bool],
        seconds: float,
        at_most: float = 1500,
        pace: Pace | None = None,
    ) -> None:
        self._renew = renew
        self._pace = pace
        self._seconds = seconds
        self._every = min(seconds / 3, WATCH_SECONDS)
        self._at_most = at_most
        self._checked_at = time.monotonic()
        self._stands_until = time.monotonic() + seconds
        self._pass_ends = math.inf
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

    def begin_pass(self, spare: float = 0) -> None:
        """From now on, `check` raises OutOfTime once `PASS_SECONDS` are over.

        `spare` of them are left to what the message has to do besides.
        """
        self._pass_ends = time.monotonic() + PASS_SECONDS - spare

    def check(self, _moved: int = 0) -> None:
        """Raise LeaseLost once the claim was lost or ran out; called with every block.

        Raises HandBack where the worker has to go, OutOfTime at the end of a pass.
        """
        self._checked_at = time.monotonic()
        if leaving.now:
            raise HandBack
        if self._lost.is_set() or time.monotonic() > self._stands_until:
            raise LeaseLost
        if time.monotonic() > self._pass_ends:
            raise OutOfTime

    @property
    def block_bytes(self) -> int:
        """How many bytes to move at once."""
        return self._pace.block_bytes if self._pace else BLOCK_BYTES

    def moved(self, count: int, way: Way = Way.DOWN) -> None:
        """As `check`, once bytes have gone over the network; returns when the next ones may."""
        if count > 0:
            moved_bytes.labels(way).inc(count)
        self.check()
        if self._pace and count > 0:
            self._wait(self._pace.delay(count))

    def paced(self, body: Body) -> Body:
        """A body that goes out no faster than it may; it ends with LeaseLost."""
        return _Paced(body, self)

    def rest(self, seconds: float) -> None:
        """Wait for something. Raises LeaseLost as soon as the claim is not held any more."""
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._lost.wait(min(left, WATCH_SECONDS / 2))
            self.check()

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


class _Paced:
    """The same bytes; each pass waits where a limit says so, and ends with LeaseLost.

    Blocks are small where the rate is, so that the connection is never silent for long.
    """

    def __init__(self, body: Body, lease: Lease) -> None:
        self.size = body.size
        self._body, self._lease = body, lease

    def blocks(self) -> Iterator[bytes | memoryview]:
        """A fresh pass. Raises what the body raises."""
        for block in self._body.blocks():
            for piece in self._pieces(block):
                yield piece
                self._lease.moved(len(piece), Way.UP)

    def _pieces(self, block: bytes | memoryview) -> Iterator[bytes | memoryview]:
        size = self._lease.block_bytes
        if len(block) <= size:
            yield block
            return
        with memoryview(block) as whole:
            for start in range(0, len(whole), size):
                with whole[start : start + size] as piece:
                    yield piece
