"""A file of which only so much is read."""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from typing import BinaryIO

from media.source import TrafficExceeded

BLOCK = 64 * 1024
KEPT = 32
READS = 200_000
"""A parser that asks more often is being led through millions of tiny parts."""


class Reader(io.RawIOBase):
    """`file` of `size` bytes, read in blocks of 64 KiB of which the last 2 MiB are kept.

    Every library reads through it, so that two things are known when one is done, whatever
    it made of them: `spent` bytes were fetched, and `failure` is the first error that the file
    itself gave. After that, and over `allowance`, nothing more is read.
    """

    def __init__(self, file: BinaryIO, size: int, allowance: int) -> None:
        self._file = file
        self.size = size
        self.allowance = allowance
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._reads = 0
        self.spent = 0
        self.failure: OSError | None = None

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go there. Raises ValueError before the beginning, as every file does."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError(f"cannot seek to {start + offset}, before the file begins")
        self._at = start + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes from here, all that is left if negative.

        Raises TrafficExceeded over the allowance, and what the file raises.
        """
        left = max(self.size - self._at, 0)
        wanted = left if size is None or size < 0 else min(size, left)
        found = bytearray()
        self._afford(wanted)
        while len(found) < wanted and (piece := self._piece(wanted - len(found))):
            found += piece
            self._at += len(piece)
        return bytes(found)

    def at(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer where the file ends."""
        self.seek(offset)
        return self.read(length)

    def _afford(self, wanted: int) -> None:
        if self.failure is not None:
            raise self.failure
        self._reads += 1
        if self._reads > READS:
            self._fail(TrafficExceeded(f"the file was read {READS} times: enough"))
        if wanted > self.allowance:
            self._fail(TrafficExceeded(f"{wanted} bytes are more than may be read of the file"))

    def _fail(self, failure: OSError) -> None:
        self.failure = failure
        raise failure

    def _piece(self, wanted: int) -> bytes:
        start = self._at - self._at % BLOCK
        if start not in self._blocks:
            self._blocks[start] = self._fetch(start)
            if len(self._blocks) > KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(start)
        within = self._at - start
        return self._blocks[start][within : within + wanted]

    def _fetch(self, start: int) -> bytes:
        length = min(BLOCK, self.size - start)
        if self.spent + length > self.allowance:
            self._fail(TrafficExceeded(f"{self.allowance} bytes of the file were read: enough"))
        self.spent += length
        found = bytearray()
        try:
            self._file.seek(start)
            while len(found) < length and (piece := self._file.read(length - len(found))):
                found += piece
        except OSError as failure:
            self._fail(failure)
        return bytes(found)
