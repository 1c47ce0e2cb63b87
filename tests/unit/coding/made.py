"""Files of every sort, what is stored for them, and ways to read that, counted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

from argosy.coding.decoder import decoded, read_table
from argosy.coding.encoder import encoded
from argosy.coding.formats import format_of
from argosy.coding.frames import FRAME_BYTES, Frame, FrameTable
from argosy.derived import Encoding

ENCODINGS: tuple[Encoding, ...] = ("gzip", "zstd")
LEVEL = 3
READ_BYTES = 100_000


def noise(size: int, seed: int = 0) -> bytes:
    """The same bytes every time, which nobody can compress."""
    return hashlib.shake_128(seed.to_bytes(8, "big")).digest(size)


def records(size: int) -> bytes:
    """A log in JSON, of lines that differ; cut where it ends."""
    lines = bytearray()
    number = 0
    while len(lines) < size:
        said = {"number": number, "temperature": number * 7919 % 1013 / 10, "state": "under way"}
        lines += json.dumps(said).encode() + b"\n"
        number += 1
    return bytes(lines[:size])


def mixed(size: int) -> bytes:
    """Stretches that can be compressed, and some that cannot; cheap to make."""
    parts, left, number = [], size, 0
    while left > 0:
        parts += [noise(70_000, number), bytes(300_000), number.to_bytes(8, "big") * 9_000]
        left -= len(parts[-1]) + len(parts[-2]) + len(parts[-3])
        number += 1
    return b"".join(parts)[:size]


def stored_for(data: bytes, encoding: Encoding, level: int = LEVEL) -> bytes:
    """What is stored for a file."""
    return b"".join(encoded([data], encoding, level))


def forged(encoding: Encoding, frames: Sequence[bytes], sizes: Sequence[int]) -> bytes:
    """Frames, and a well-formed table that says what they decode to."""
    table = FrameTable(Frame(len(raw), size) for raw, size in zip(frames, sizes, strict=True))
    return b"".join([*frames, format_of(encoding).table(table)])


class CountedObject:
    """An object in memory, and the ranges that were read of it."""

    def __init__(self, stored: bytes, encoding: Encoding, size: int) -> None:
        self.stored, self.encoding, self.size = stored, encoding, size
        self.asked: list[tuple[int, int]] = []

    def table(self) -> FrameTable:
        """Its table."""
        return read_table(self.encoding, self.read, len(self.stored), self.size, name="cargo.bin")

    def content(self, start: int = 0, length: int | None = None) -> bytes:
        """A range of the file."""
        return b"".join(self.blocks(start, length))

    def blocks(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """A range of the file, as it comes."""
        count = self.size - start if length is None else length
        return decoded(self.table(), self.encoding, self.get, start, count, name="cargo.bin")

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the object; fewer at its end."""
        self.asked.append((offset, length))
        return self.stored[offset : offset + length]

    def get(self, offset: int, length: int) -> Iterator[bytes]:
        """The same, in blocks that end anywhere."""
        self.asked.append((offset, length))
        end = min(offset + length, len(self.stored))
        for first in range(offset, end, READ_BYTES):
            yield self.stored[first : min(first + READ_BYTES, end)]


def object_of(data: bytes, encoding: Encoding, level: int = LEVEL) -> CountedObject:
    """The object of a file."""
    return CountedObject(stored_for(data, encoding, level), encoding, len(data))


SIZES = (0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES + 12_345)
