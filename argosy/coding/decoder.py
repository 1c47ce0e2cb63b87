"""Reads a compressed file, or a range of it, and trusts nothing that it reads.

What is stored may have been made by anybody. The file's size comes from its reference: it
says how many frames there are, how large each is, and so how long the table is. A table
that says anything else is refused, and so is a frame that decodes to more or to less.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from argosy.coding.damage import FrameDamaged, FrameTooLarge
from argosy.coding.formats import format_of
from argosy.coding.frames import FRAME_BYTES, Frame, FrameTable, count_frames, most_stored
from argosy.derived import Encoding
from argosy.errors import ChecksumMismatch, ExpansionTooLarge, IntegrityError

_BLOCK_BYTES = 1024 * 1024


def read_table(
    encoding: Encoding,
    read: Callable[[int, int], bytes],
    stored_size: int,
    size: int,
    *,
    name: str = "The file",
) -> FrameTable:
    """The table of a file of `size` bytes that is stored in `stored_size`; reads nothing else.

    `read` gives the bytes of the object from an offset on, so many. Raises ChecksumMismatch
    when they are not the one table that such a file can have.
    """
    container, count = format_of(encoding), count_frames(size)
    length = container.table_length(count)
    if length > stored_size:
        raise _damaged(name, f"{stored_size} bytes have no room for {count} frames")
    raw = read(stored_size - length, length)
    if len(raw) != length:
        raise _damaged(name, "its table of frames is cut short")
    table = FrameTable()
    for frame in container.entries(raw, count):
        _check_entry(name, frame, min(FRAME_BYTES, size - table.size))
        table.append(frame)
    if table.stored + length != stored_size or container.table(table) != raw:
        raise _damaged(name, f"its end is no table of frames of {encoding}")
    return table


def decoded(
    table: FrameTable,
    encoding: Encoding,
    get: Callable[[int, int], Iterator[bytes]],
    start: int,
    length: int,
    *,
    name: str = "The file",
) -> Iterator[bytes]:
    """The file's bytes from `start` on, `length` of them, in blocks of at most 1 MiB.

    `get` gives the bytes of the object from an offset on, so many, in blocks; it is asked
    once, for the frames that are needed. Two frames at most are in memory, one of them
    encoded. Raises ChecksumMismatch for a frame that is damaged, ExpansionTooLarge for one
    that holds more than the table says, ValueError for a range that is not in the file.
    """
    if length == 0:
        return
    span = table.cut(start, length)
    decode = format_of(encoding).decoder()
    with _Feed(get(span.start, span.length), name) as feed:
        offset = span.offset
        for number in range(span.first, span.last + 1):
            frame = table[number]
            try:
                plain = decode(feed.take(frame.stored), frame.size)
            except FrameDamaged as error:
                raise _wrong_frame(name, number, frame, error) from error
            yield from _pieces(plain, start - offset, start + length - offset)
            offset += frame.size


def _pieces(plain: bytes, start: int, end: int) -> Iterator[bytes]:
    """A frame's bytes between two offsets, of which either may lie outside of it."""
    start, end = max(0, start), min(end, len(plain))
    for first in range(start, end, _BLOCK_BYTES):
        yield plain[first : min(first + _BLOCK_BYTES, end)]


class _Feed:
    """Cuts a stream of blocks anew. A context: it closes the stream."""

    def __init__(self, blocks: Iterator[bytes], name: str) -> None:
        self._blocks = blocks
        self._name = name
        self._left = memoryview(b"")

    def take(self, count: int) -> bytearray:
        """The next `count` bytes. Raises ChecksumMismatch when there are fewer."""
        taken = bytearray()
        while len(taken) < count:
            if not self._left:
                self._left = memoryview(self._next())
            missing = count - len(taken)
            taken += self._left[:missing]
            self._left = self._left[missing:]
        return taken

    def _next(self) -> bytes:
        for block in self._blocks:
            if block:
                return block
        raise _damaged(self._name, "it is cut short")

    def __enter__(self) -> _Feed:
        return self

    def __exit__(self, *_error: object) -> None:
        if isinstance(self._blocks, Generator):
            self._blocks.close()


def _check_entry(name: str, frame: Frame, size: int) -> None:
    """Raise ChecksumMismatch unless a frame of `size` bytes can be stored so."""
    if frame.size != size or not 0 < frame.stored <= most_stored(size):
        raise _damaged(name, "its table of frames does not add up")


def _damaged(name: str, found: str) -> ChecksumMismatch:
    return ChecksumMismatch(
        f"{name} is damaged in Storage: {found}. Ask its owner for a new reference."
    )


def _wrong_frame(name: str, number: int, frame: Frame, error: FrameDamaged) -> IntegrityError:
    if isinstance(error, FrameTooLarge):
        return ExpansionTooLarge(
            f"{name} is not decoded: frame {number} has more than the {frame.size} bytes that its "
            "table says. Ask its owner for a new reference."
        )
    return _damaged(name, f"frame {number} of {frame.size} bytes: {error}")
