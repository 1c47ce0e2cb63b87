"""The ranges of a large file: fetched by several threads, hashed in order beside them."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from argosy.cache import Insertion
from argosy.direct.crew import Crew, Job, ending
from argosy.errors import DestinationUnwritable
from argosy.files import write_at
from argosy.storage.parts import part_ranges

_BLOCK_BYTES = 1024 * 1024
_LOOK_SECONDS = 0.5

Read = Callable[[int, int], Iterator[bytes]]
"""Reads from an offset, so many bytes."""


@dataclass(frozen=True)
class Ranges:
    """How a file of `size` bytes is cut, and the open file `fd` that it is written to."""

    fd: int
    size: int
    part_size: int

    def fetch(
        self,
        read: Read,
        crew: Crew,
        *,
        parallel: int,
        there: Collection[int],
        on_bytes: Callable[[int], None],
        on_part: Callable[[int], None],
        insertion: Insertion | None,
    ) -> str:
        """Fetch every range that is not `there` (numbers from 1); SHA-256 of the whole file.

        `on_part` hears the number of each range once it is written. What arrives goes into
        `insertion` too, in order. Raises what `read` raises, and OSError of the disk.
        """
        arrived: SimpleQueue[int] = SimpleQueue()
        cut = list(enumerate(part_ranges(self.size, self.part_size), 1))
        todo = deque((number, *extent) for number, extent in cut if number not in there)

        def work() -> None:
            gate = crew.gate()
            while todo:
                try:
                    number, start, length = todo.popleft()
                except IndexError:  # another thread took the last one
                    return
                with ending(read(start, length)) as blocks:
                    for block in blocks:
                        with gate:
                            write_at(self.fd, block, start)
                            on_bytes(len(block))
                        start += len(block)
                with gate:
                    on_part(number)
                arrived.put(number)

        hashing = Job(lambda: self._hash(crew, arrived, set(there), insertion))
        count = min(parallel, len(todo))
        crew.wait([*(Job(work) for _ in range(count)), hashing])
        return hashing.result()

    def _hash(
        self, crew: Crew, arrived: SimpleQueue[int], there: set[int], insertion: Insertion | None
    ) -> str:
        """Follow the front of what is there without a gap; read back while it is in memory."""
        gate = crew.gate()
        digest = hashlib.sha256()
        for number, (start, length) in enumerate(part_ranges(self.size, self.part_size), 1):
            while number not in there:
                there.add(_next(arrived, crew))
            for offset in range(start, start + length, _BLOCK_BYTES):
                with gate:
                    block = self._block(offset, start + length)
                    if insertion:
                        insertion.write(block)
                digest.update(block)
        return digest.hexdigest()

    def _block(self, offset: int, end: int) -> bytes:
        block = os.pread(self.fd, min(_BLOCK_BYTES, end - offset), offset)
        if len(block) < min(_BLOCK_BYTES, end - offset):
            raise DestinationUnwritable(
                "The partial file was cut while it was written: call again."
            )
        return block


def _next(arrived: SimpleQueue[int], crew: Crew) -> int:
    while True:
        crew.check()
        try:
            return arrived.get(timeout=_LOOK_SECONDS)
        except Empty:
            continue
