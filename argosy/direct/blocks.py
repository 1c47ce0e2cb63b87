"""Reads whatever gives bytes, one block after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, BinaryIO

from argosy.deadline import Deadline
from argosy.direct.source import plain_view
from argosy.errors import InvalidRequest, SourceUnreadable, TransferCancelled
from argosy.storage.body import BLOCK_BYTES

_END = object()
"""What comes after the last block: None would be a block that is no bytes."""


class Blocks:
    """Blocks of bytes, poured into buffers. Raises what the iterator raises."""

    def __init__(self, blocks: Iterator[bytes | memoryview]) -> None:
        self._blocks = blocks
        self._rest = memoryview(b"")

    def fill(self, buffer: bytearray) -> int:
        """Fill a buffer, unless the source ends before: how many bytes are in it."""
        filled, room = 0, memoryview(buffer)
        while filled < len(buffer) and self.has_more():
            taken = self._rest[: len(buffer) - filled]
            room[filled : filled + len(taken)] = taken
            filled += len(taken)
            self._rest = self._rest[len(taken) :]
        return filled

    def has_more(self) -> bool:
        """Whether there is another byte; waits for it."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return False
            self._rest = memoryview(block)
        return True


def given_blocks(
    source: Iterable[bytes] | BinaryIO, name: str, deadline: Deadline
) -> Iterator[memoryview]:
    """What an iterable yields, or a file object gives.

    Raises SourceUnreadable with what the source raised as its cause, InvalidRequest for
    what is no bytes, and what the deadline raises, after each block.
    """
    return _checked(_iterator(source, name), name, deadline)


def peeked(blocks: Iterator[memoryview], count: int) -> tuple[bytes, Iterator[bytes | memoryview]]:
    """The first `count` bytes, as far as there are so many, and all blocks as they were."""
    taken: list[bytes] = []
    left = count
    while left > 0 and (block := next(blocks, None)) is not None:
        taken.append(bytes(block))  # who gave it may write over it before the next one
        left -= len(block)
    return b"".join(taken)[:count], chain(taken, blocks)


def _checked(blocks: Iterator[Any], name: str, deadline: Deadline) -> Iterator[memoryview]:
    while True:
        deadline.check()
        try:
            block = next(blocks, _END)
        except TransferCancelled:
            raise
        except Exception as error:  # the caller's code; whatever it is, it is the cause
            raise SourceUnreadable(
                f"{name}: reading it raised {type(error).__name__}: {error}. Nothing of "
                "it was kept; upload it again from its beginning."
            ) from error
        deadline.check()
        if block is _END:
            return
        if not isinstance(block, bytes | bytearray | memoryview):
            raise InvalidRequest(
                f"{name} gave {type(block).__name__} where bytes are expected: open a "
                "file in binary mode, encode text."
            )
        yield plain_view(block)


def _iterator(source: Any, name: str) -> Iterator[Any]:
    if isinstance(source, bytes | bytearray | memoryview):
        return iter([source])
    if hasattr(source, "read"):
        return iter(lambda: _read(source), b"")
    try:
        return iter(source)
    except TypeError:
        raise InvalidRequest(
            f"{name}: a {type(source).__name__} neither yields bytes nor can be read: give an "
            "iterable of bytes or a binary file object; a path goes to upload_file."
        ) from None


def _read(source: Any) -> Any:
    """The next block; anything empty is the end. Text, or nothing yet, is for others to refuse."""
    block = source.read(BLOCK_BYTES)
    if block is None:
        raise BlockingIOError("it is in non-blocking mode and has nothing to give")
    return b"" if block == "" else block
