"""How a file is cut into parts: one rule for the fleet and for the client."""

from __future__ import annotations

from collections.abc import Iterator

MAX_PARTS = 10_000
"""S3: an upload has at most so many parts."""
MANY_PARTS = 16
"""So many cost their messages and commits; of a file that would have more they are larger."""
MOST_GROWTH = 4
"""And no larger than so many times the usual: a part is what is sent again when it fails."""
_MIB = 1024 * 1024


def part_size_for(size: int, part_size: int) -> int:
    """Bytes in a part: the setting, grown by whole MiB until 10,000 parts suffice."""
    needed = -(-size // MAX_PARTS)
    return max(part_size, -(-needed // _MIB) * _MIB)


def grown_part_size(size: int, part_size: int) -> int:
    """Bytes in a part of a large file, in whole MiB: `part_size` to `MOST_GROWTH` times it."""
    shared = -(-size // (MANY_PARTS * _MIB)) * _MIB
    return min(MOST_GROWTH * part_size, max(part_size, shared))


def count_parts(size: int, part_size: int) -> int:
    """How many parts a file has: an empty one has one, of no bytes."""
    return max(1, -(-size // part_size)) if part_size else 1


def part_ranges(size: int, part_size: int) -> Iterator[tuple[int, int]]:
    """The offset and the length of each part, in order."""
    for number in range(count_parts(size, part_size)):
        start = number * part_size
        yield start, min(part_size, size - start)
