"""Files too large to make: their bytes are made up as they are read, and every read is counted."""

from __future__ import annotations

import bisect
from itertools import accumulate
from typing import BinaryIO, NamedTuple, cast

from media.source import SourceFile, TrafficExceeded


class Run(NamedTuple):
    """`pattern` again and again, `length` bytes of it."""

    pattern: bytes
    length: int

    def cut(self, start: int, length: int) -> bytes:
        within = start % len(self.pattern)
        length = min(length, self.length - start)
        repeated = self.pattern * (-(-(within + length) // len(self.pattern)))
        return repeated[within : within + length]


class LargeFile:
    """A source of bytes that counts what is fetched, and gives no more than `traffic` of it."""

    def __init__(self, *pieces: bytes | Run, traffic: int = 16_000_000) -> None:
        self._runs = [
            piece if isinstance(piece, Run) else Run(piece, len(piece)) for piece in pieces if piece
        ]
        self._ends = list(accumulate(run.length for run in self._runs))
        self._traffic = traffic
        self.fetched = 0
        self.requests = 0

    @property
    def size(self) -> int:
        return self._ends[-1] if self._ends else 0

    def file(self) -> BinaryIO:
        return cast(BinaryIO, SourceFile(self))

    def read(self, offset: int, length: int) -> bytes:
        self.requests += 1
        self.fetched += length
        if self.fetched > self._traffic:
            raise TrafficExceeded("enough")
        found = bytearray()
        while len(found) < length and offset + len(found) < self.size:
            at = offset + len(found)
            run = bisect.bisect_right(self._ends, at)
            start = self._ends[run] - self._runs[run].length
            found += self._runs[run].cut(at - start, length - len(found))
        return bytes(found)
