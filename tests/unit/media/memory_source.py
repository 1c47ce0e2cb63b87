"""A file in memory, for who reads in ranges."""

from __future__ import annotations


class MemorySource:
    """`content`, and how much of it was read."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.reads: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return self.content[offset : offset + length]

    @property
    def fetched(self) -> int:
        return sum(length for _, length in self.reads)
