"""What is sent: a body that can be read again for every attempt, a block at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Protocol

from argosy.errors import SourceChanged, SourceUnreadable

BLOCK_BYTES = 1024 * 1024
"""How many bytes of a file are in memory at once."""


class Body(Protocol):
    """Something that can be sent more than once."""

    @property
    def size(self) -> int:
        """How many bytes one pass yields."""

    def blocks(self) -> Iterator[bytes | memoryview]:
        """A fresh pass, in blocks of at most `BLOCK_BYTES`."""


def read_at(fd: int, count: int, offset: int) -> bytes:
    """Up to `count` bytes at `offset`; the descriptor's own position stays put.

    Raises SourceChanged where the file ends (it was cut while it was read) and
    SourceUnreadable when the disk fails.
    """
    try:
        block = os.pread(fd, count, offset)
    except OSError as error:
        raise SourceUnreadable(f"reading the file failed at byte {offset}: {error}") from error
    if not block:
        raise SourceChanged(f"the file ends at byte {offset}: it was cut while it was read")
    return block


def read_range(fd: int, offset: int, length: int) -> Iterator[bytes]:
    """The bytes from `offset` on, `length` of them, in blocks."""
    end = offset + length
    while offset < end:
        block = read_at(fd, min(BLOCK_BYTES, end - offset), offset)
        offset += len(block)
        yield block


class FileRange:
    """A body over part of an open file.

    `on_bytes` hears how many bytes went by. When a pass is repeated it first
    hears the negative of what the broken pass had reported, so that a sum stays
    true. It may raise to stop the transfer.
    """

    def __init__(
        self,
        fd: int,
        offset: int,
        length: int,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        self.size = length
        self._fd = fd
        self._offset = offset
        self._on_bytes = on_bytes
        self._reported = 0

    def blocks(self) -> Iterator[bytes]:
        """A fresh pass. Raises SourceChanged, SourceUnreadable."""
        self._report(-self._reported)
        for block in read_range(self._fd, self._offset, self.size):
            yield block
            self._report(len(block))

    def _report(self, count: int) -> None:
        self._reported += count
        if self._on_bytes and count:
            self._on_bytes(count)


class BytesBody:
    """A small body that is in memory anyway."""

    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self._content = content

    def blocks(self) -> Iterator[memoryview]:
        """A fresh pass, without a copy."""
        view = memoryview(self._content)
        for start in range(0, self.size, BLOCK_BYTES):
            yield view[start : start + BLOCK_BYTES]
