"""How fast one stream to Storage is, as this process has seen it.

A file in one piece goes by one connection, and no faster than that. Where a connection is
narrow, parts by several of them are faster; where it is not, they cost requests and commits.
What is measured has moved beside whatever else was on the line, parts of the same file among it:
on a line that is shared this errs towards parts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 2.0
"""What a file may take in one stream, where it could go in several."""
LEAST_BYTES = 4 * 1024 * 1024
"""Of what tells something: of less, the way there and back takes the time."""


class Streams:
    """What was seen, by the kind of transfer: the way up and the way down may differ.

    Any number of threads may use it.
    """

    def __init__(self) -> None:
        self._rates: dict[str, float] = {}

    @contextmanager
    def measured(self, kind: str, size: int) -> Iterator[None]:
        """Within it, so many bytes move in one stream. One that breaks tells nothing."""
        began = time.monotonic()
        yield
        if size >= LEAST_BYTES:
            self.note(kind, size / max(time.monotonic() - began, 1e-6))

    def note(self, kind: str, rate: float) -> None:
        """A stream had so many bytes a second; what was seen before counts as much."""
        self._rates[kind] = (self._rates.get(kind, rate) + rate) / 2

    def at_once(self, kind: str, usual: int, least: int) -> int:
        """Bytes up to which a file goes in one piece: the `usual` ones, where no stream was seen.

        Else those that one moves within `SECONDS`, but no fewer than the `least`, and no more
        than the usual.
        """
        rate = self._rates.get(kind)
        return usual if rate is None else min(usual, max(least, int(rate * SECONDS)))
