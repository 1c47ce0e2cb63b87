"""How a video in an ISO base media file is turned (ISO/IEC 14496-12, 8.3.2: `tkhd`).

PyAV gives a track's display matrix with a decoded frame only, and none is decoded here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from media.reader import Reader

MAX_BOXES = 1000


class Box(NamedTuple):
    """A box's name, and where what is in it begins and ends."""

    name: bytes
    start: int
    end: int


def rotation_of(reader: Reader, track: int) -> int:
    """Degrees, clockwise, by which a player turns the frames of `track`: 0, 90, 180 or 270."""
    for movie in _named(reader, b"moov", 0, reader.size):
        for one in _named(reader, b"trak", movie.start, movie.end):
            for header in _named(reader, b"tkhd", one.start, one.end):
                number, degrees = _header(reader.at(header.start, 96))
                if number == track:
                    return degrees
    return 0


def _named(reader: Reader, name: bytes, start: int, end: int) -> Iterator[Box]:
    return (box for box in _boxes(reader, start, end) if box.name == name)


def _boxes(reader: Reader, start: int, end: int) -> Iterator[Box]:
    for _ in range(MAX_BOXES):
        head = reader.at(start, 16)
        if len(head) < 8 or start + 8 > end:
            return
        length, inside = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, inside = int.from_bytes(head[8:16], "big"), 16
        stop = end if length == 0 else start + length
        if stop < start + inside:
            return
        yield Box(head[4:8], start + inside, min(stop, end))
        start = stop


def _header(box: bytes) -> tuple[int, int]:
    """The track's number and its turn; in version 1 times have 64 bits."""
    wide = box[:1] == b"\x01"
    number = int.from_bytes(box[20:24] if wide else box[12:16], "big")
    matrix = box[52:88] if wide else box[40:76]
    if len(matrix) < 36:
        return number, 0
    cosine, sine = (int.from_bytes(matrix[at : at + 4], "big", signed=True) for at in (0, 4))
    turn = math.degrees(math.atan2(sine, cosine))
    return number, round(turn / 90) * 90 % 360
