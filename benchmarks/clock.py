"""How long the phases of a run take, with what they need before and after."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


class Clock:
    """Adds up the time of each phase, which is also one of `beneath`."""

    def __init__(self, beneath: Callable[[str], AbstractContextManager[object]]) -> None:
        self._beneath = beneath
        self._taken: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time within."""
        began = time.monotonic()
        with self._beneath(name):
            yield
        self._taken[name] = self._taken.get(name, 0.0) + time.monotonic() - began

    @property
    def said(self) -> str:
        """Seconds by phase, for people."""
        return "; ".join(f"{name}: {taken:.0f}" for name, taken in self._taken.items())
