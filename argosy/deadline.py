"""How long a call may take, and whether somebody has called it off."""

from __future__ import annotations

import math
import threading
import time
from contextvars import ContextVar
from dataclasses import replace

from argosy.errors import DeadlineExceeded, TransferCancelled
from argosy.storage.retry import RetryPolicy

called_off: ContextVar[threading.Event | None] = ContextVar("called_off", default=None)
"""Set by a caller that waits elsewhere, and may call off what it waits for."""


class Deadline:
    """The end of one call: after `seconds`, or when it is cancelled. Any thread may ask.

    `cancelled` says so when it is set; `called_off` does where it is not given.
    """

    def __init__(
        self, seconds: float | None = None, cancelled: threading.Event | None = None
    ) -> None:
        self._seconds = seconds
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        self._cancelled = cancelled or called_off.get() or threading.Event()

    def cancel(self) -> None:
        """Call it off: whoever checks, or waits, ends with TransferCancelled."""
        self._cancelled.set()

    @property
    def left(self) -> float:
        """Seconds until the end, at least 0; infinite without one."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raise TransferCancelled or DeadlineExceeded when it is over."""
        if self._cancelled.is_set():
            raise TransferCancelled("The call was cancelled.")
        if not self.left:
            raise DeadlineExceeded(
                f"The call took longer than the {self._seconds:g} seconds it was given: "
                "allow more, or call again to go on where it stopped."
            )

    def wait(self, seconds: float) -> None:
        """Sleep so long, but no longer than to the end. Raises what `check` raises."""
        self._cancelled.wait(min(seconds, self.left))
        self.check()

    def limit(self, policy: RetryPolicy) -> RetryPolicy:
        """The same policy, with pauses and silences that end with this."""
        return replace(policy, sleep=self.wait, left=lambda: self.left, check=self.check)
