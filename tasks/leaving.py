"""Whether this process has to let go of what is in its hands: its worker is asked to end."""

from __future__ import annotations

import signal

SIGNAL = signal.SIGUSR2
"""By it a worker's main process tells a child that the grace is over."""


class Leaving:
    """Set once, from a signal's handler: takes no lock."""

    def __init__(self) -> None:
        self.now = False

    def listen(self) -> None:
        """Have the signal set it, in this process."""
        self.now = False
        signal.signal(SIGNAL, self._set)

    def _set(self, *_: object) -> None:
        self.now = True


leaving = Leaving()
