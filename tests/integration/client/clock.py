"""The time that deadlines go by: a test moves it on, and waits for nothing."""

from __future__ import annotations

import time


class Clock:
    """As `time`, and `ahead` of it by so many seconds."""

    ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead
