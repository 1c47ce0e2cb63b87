"""What ties the parts that were sent to the whole that was hashed.

SHA-256 of a large file is computed in one pass, and its parts are read for sending in others.
Where its bytes change between two readings and its times do not tell (a page that is mapped into
somebody's memory, another host's cache, a flipped bit), each reading is sound by itself, and the
object is not what its reference promises. So every part is hashed as it is sent and again in the
pass over the whole, and the two are compared before Storage puts the object together.

It is against chance, not malice: who may write the file may as well write it before. Hence
XXH3-64, which costs a fiftieth of a second for each GB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import xor

from xxhash import xxh3_64

from argosy.storage.body import Body


class HashedPart:
    """The same bytes; `xxh3` is what the last pass over them came to."""

    def __init__(self, body: Body, number: int) -> None:
        self.size = body.size
        self._body = body
        self._number = number
        self._hash = xxh3_64(seed=number)

    def blocks(self) -> Iterator[bytes | memoryview]:
        """A fresh pass. Raises what the body raises."""
        self._hash = xxh3_64(seed=self._number)
        for block in self._body.blocks():
            self._hash.update(block)
            yield block

    @property
    def xxh3(self) -> int:
        """A signed number of 64 bits, as PostgreSQL's bigint is."""
        return _signed(self._hash)


class PartHashes:
    """The hashes of all parts of a file, taken in one pass over the whole."""

    def __init__(self, part_size: int) -> None:
        self._part_size = self._room = part_size
        self._number = 1
        self._hash = xxh3_64(seed=1)
        self._before = 0

    def through(self, blocks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        """The same blocks, in order from the first byte on; each is hashed before it is given."""
        for block in blocks:
            self._update(memoryview(block))
            yield block

    def _update(self, rest: memoryview) -> None:
        while rest:
            if not self._room:
                self._next_part()
            self._hash.update(rest[: self._room])
            taken = min(self._room, len(rest))
            rest, self._room = rest[taken:], self._room - taken

    def _next_part(self) -> None:
        self._before ^= _signed(self._hash)
        self._number += 1
        self._hash, self._room = xxh3_64(seed=self._number), self._part_size

    @property
    def folded(self) -> int:
        """All of them as one number: what `fold` makes of each part's."""
        return self._before ^ _signed(self._hash)


def fold(hashes: Iterable[int]) -> int:
    """One number for the hashes of all parts, in any order: each knows its part's number."""
    return reduce(xor, hashes, 0)


def are_of(sent: Iterable[int | None], folded: int) -> bool:
    """Whether parts with these hashes are the file that came to `folded`.

    True also where one of them was not hashed: nothing can be said then.
    """
    known = list(sent)
    hashes = [one for one in known if one is not None]
    return len(hashes) < len(known) or fold(hashes) == folded


def _signed(made: xxh3_64) -> int:
    return int.from_bytes(made.digest(), "big", signed=True)
