"""How a compressed file is cut: frames that are decoded one by one, and the table of them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FRAME_BYTES = 4 * 1024 * 1024
"""Of the file, in every frame but the last, which has the rest. An empty file has no frame."""


@dataclass(frozen=True)
class Frame:
    """One frame: `stored` bytes of the object, which decode to `size` bytes of the file."""

    stored: int
    size: int


@dataclass(frozen=True)
class Span:
    """The frames that a range of the file needs, `first` to `last`, numbered from 0.

    They are `length` bytes of the object from `start` on; what they decode to begins at
    `offset` of the file.
    """

    start: int
    length: int
    offset: int
    first: int
    last: int


class FrameTable:
    """The frames of a file, in order. Takes 16 bytes of memory for each."""

    def __init__(self, frames: Iterable[Frame] = ()) -> None:
        self._stored = array("Q", [0])
        self._sizes = array("Q", [0])
        for frame in frames:
            self.append(frame)

    def append(self, frame: Frame) -> None:
        """One more frame at the end."""
        self._stored.append(self.stored + frame.stored)
        self._sizes.append(self.size + frame.size)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._sizes[-1]

    @property
    def stored(self) -> int:
        """Bytes of the object, without the table at its end."""
        return self._stored[-1]

    def __len__(self) -> int:
        return len(self._sizes) - 1

    def __getitem__(self, number: int) -> Frame:
        if not 0 <= number < len(self):
            raise IndexError(f"frame {number} of {len(self)}")
        return Frame(
            self._stored[number + 1] - self._stored[number],
            self._sizes[number + 1] - self._sizes[number],
        )

    def __iter__(self) -> Iterator[Frame]:
        return (self[number] for number in range(len(self)))

    def cut(self, start: int, length: int) -> Span:
        """What has the bytes from `start` on, `length` of them, at least one.

        Raises ValueError when the file has no such bytes.
        """
        end = start + length
        if not 0 <= start < end <= self.size:
            raise ValueError(f"bytes {start} to {end} of {self.size}")
        first = bisect_right(self._sizes, start) - 1
        last = bisect_right(self._sizes, end - 1) - 1
        begin = self._stored[first]
        return Span(begin, self._stored[last + 1] - begin, self._sizes[first], first, last)


def count_frames(size: int) -> int:
    """How many frames a file of `size` bytes has."""
    return -(-size // FRAME_BYTES)


def most_stored(size: int) -> int:
    """Bytes that a frame of `size` bytes takes at most: what cannot be compressed grows a little.

    Both zstd and deflate then keep it as it is, in blocks with headers of a few bytes.
    """
    return size + size // 64 + 64
