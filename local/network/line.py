"""What a network does to bytes, without a clock or a socket: how fast they leave, when they come.

Bytes are late, not few: any number of them may be on their way at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BURST_BYTES = 64 * 1024
"""What a connection that was idle sends at once."""


@dataclass(frozen=True)
class Conditions:
    """What befalls every connection; nothing by default. Times are in seconds.

    `round_trip` is how much later an answer comes, half of it each way. `rate` is in bytes a
    second, of each connection and each way. A connection is reset when it is as old as some
    moment between the two of `lives`.
    """

    round_trip: float = 0.0
    rate: int | None = None
    lives: tuple[float, float] | None = None

    @property
    def way(self) -> float:
        """How late a byte is."""
        return self.round_trip / 2


class TokenBucket:
    """At most `rate` bytes a second, and as many at once as were saved up, `burst` at most."""

    def __init__(self, rate: int, burst: int = BURST_BYTES) -> None:
        self._rate = rate
        self._burst = burst
        self._paid_at = float("-inf")
        """When all that has passed so far was paid for."""

    def pass_at(self, size: int, now: float) -> float:
        """When the last of so many bytes has passed that ask to at this moment."""
        earliest = now - self._burst / self._rate
        self._paid_at = max(self._paid_at, earliest) + size / self._rate
        return max(now, self._paid_at)


class DelayLine:
    """Bytes on their way, in their order; `held` is how many. The end of the stream is one."""

    def __init__(self) -> None:
        self.held = 0
        self._waiting: deque[tuple[float, bytes | None]] = deque()

    def put(self, block: bytes | None, due: float) -> None:
        """Send a block, or None for the end, to arrive at this moment."""
        if self._waiting:  # nothing overtakes
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, block))
        self.held += len(block or b"")

    @property
    def next_due(self) -> float | None:
        """When the next block arrives; None when nothing is on its way."""
        return self._waiting[0][0] if self._waiting else None

    def take(self, now: float) -> bytes | None:
        """What arrives next, a block, or None for the end. Raises ValueError when it is not due."""
        due, block = self._waiting[0]
        if due > now:
            raise ValueError(f"due in {due - now} s")
        self._waiting.popleft()
        self.held -= len(block or b"")
        return block
