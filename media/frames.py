"""How many frames an image has, from its structure and never further than a stated way."""

from __future__ import annotations

from typing import NamedTuple

from media.reader import Reader

GIF_BYTES = 2 * 1024 * 1024
TIFF_FRAMES = 1000
IMAGE, EXTENSION = 0x2C, 0x21


class Frames(NamedTuple):
    """`number` frames, and whether there may be more."""

    number: int
    more: bool


def gif_frames(reader: Reader) -> Frames:
    """Frames of a GIF89a whose blocks begin in the first 2 MiB."""
    head = reader.at(0, GIF_BYTES)
    at = 13 + _table(head[10]) if len(head) > 10 else len(head)
    number = 0
    while at + 9 < len(head) and head[at] in {IMAGE, EXTENSION}:
        if head[at] == IMAGE:
            number += 1
            at = _behind(head, at + 11 + _table(head[at + 9]))
        else:
            at = _behind(head, at + 2)
    ran_out = at + 9 >= len(head)  # or else here is the trailer, or damage
    return Frames(max(number, 1), more=ran_out and reader.size > len(head))


def _table(flags: int) -> int:
    """Bytes of the colour table that flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind(head: bytes, at: int) -> int:
    """Where the sub-blocks that begin at `at` are over."""
    while at < len(head) and head[at]:
        at += 1 + head[at]
    return at + 1


def tiff_frames(reader: Reader) -> Frames:
    """Directories of a TIFF, each of which names the next; at most 1,000, none twice."""
    head = reader.at(0, 16)
    order = "little" if head.startswith(b"I") else "big"
    big = 0x2B in head[2:4]
    counts, entry, pointer = (8, 20, 8) if big else (2, 12, 4)
    at = int.from_bytes(head[8:16] if big else head[4:8], order)  # type: ignore[arg-type]  # one of both
    seen: set[int] = set()
    while at and at not in seen and at < reader.size and len(seen) < TIFF_FRAMES:
        seen.add(at)
        entries = int.from_bytes(reader.at(at, counts), order)  # type: ignore[arg-type]  # as above
        end = at + counts + entry * min(entries, 65_535)
        at = int.from_bytes(reader.at(end, pointer), order)  # type: ignore[arg-type]  # as above
    return Frames(max(len(seen), 1), more=len(seen) == TIFF_FRAMES)
