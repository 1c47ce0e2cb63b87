"""Reading a file that lies elsewhere: bytes come in ranges, each asked for when it is needed."""

from __future__ import annotations

import io
import os
from typing import Protocol

KIB = 1024
FIRST_FETCH = 64 * KIB
LARGEST_FETCH = 4096 * KIB
WINDOWS = 8


class ByteSource(Protocol):
    """Bytes that can be read in ranges. `size` is that of the whole file.

    `read` gives `length` bytes from `offset`, fewer only where the file ends.
    """

    @property
    def size(self) -> int:
        """Bytes of the whole file."""

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`."""


class TrafficExceeded(OSError):
    """As many bytes were fetched of the file as may be: no more are read."""


class SourceFile(io.RawIOBase):
    """A source as a file, that reads whole answers where the file has them.

    What is read in a row is fetched in ever larger ranges, up to 4 MiB; after a jump it starts
    again at 64 KiB. The last few ranges are kept, for parsers that jump to and fro.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._at = 0
        self._fetch = FIRST_FETCH
        self._fetched_to = 0
        self._windows: list[tuple[int, bytes]] = []

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go there; behind the end is allowed, as in every file.

        Raises:
            ValueError: That is before the beginning.
        """
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._source.size}[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}, before the file begins")
        self._at = start + offset
        return self._at

    def readall(self) -> bytes:
        """Everything from here to the end."""
        return self.read(-1)

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes from here, all if negative: never more than the file has.

        Raises:
            TrafficExceeded: The file is larger than what may be fetched of it.
        """
        left = max(self._source.size - self._at, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        pieces = bytearray()
        while len(pieces) < wanted and (piece := self._piece(wanted - len(pieces))):
            pieces += piece
            self._at += len(piece)
        return bytes(pieces)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        # io declares it for every buffer that can be written: these are the ones there are.
        """Fill `buffer` as far as the file goes."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    def _piece(self, length: int) -> bytes:
        for start, window in reversed(self._windows):
            if start <= self._at < start + len(window):
                return window[self._at - start : self._at - start + length]
        return self._fetch_here(length)[:length]

    def _fetch_here(self, length: int) -> bytes:
        in_a_row = self._at == self._fetched_to and self._windows
        self._fetch = min(self._fetch * 2, LARGEST_FETCH) if in_a_row else FIRST_FETCH
        wanted = min(max(length, self._fetch), LARGEST_FETCH, self._source.size - self._at)
        found = self._source.read(self._at, wanted)
        self._fetched_to = self._at + len(found)
        self._windows = [*self._windows[1 - WINDOWS :], (self._at, found)]
        return found
