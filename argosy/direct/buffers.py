"""The memory in which the parts of a stream are gathered."""

from __future__ import annotations

import queue
from collections.abc import Callable

from argosy.direct.team import LOOK_SECONDS
from argosy.settings import S3_MAX_PART_BYTES

PARTS_OF_A_SIZE = 1000
"""After so many parts their size doubles: 10,000 of them reach S3's 5 TiB."""
FEWEST = 2
"""One to be filled while the other is sent."""


def streamed_part_size(number: int, first: int) -> int:
    """Bytes of part `number` of a stream whose first parts have `first`."""
    doubled: int = first * 2 ** ((number - 1) // PARTS_OF_A_SIZE)
    return min(doubled, S3_MAX_PART_BYTES)


class Buffers:
    """`count` buffers as large as the `first`; fewer as parts grow, in the same memory.

    Below two it cannot go: a stream of 100 GiB takes 128 MiB, one of 1 TiB 1 GiB.
    """

    def __init__(self, first: bytearray, count: int, check: Callable[[], None]) -> None:
        self._first_size = len(first)
        self._budget = len(first) * max(FEWEST, count)
        self._check = check
        self._made = 1
        self._free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()

    def take(self, number: int) -> bytearray:
        """A buffer for part `number`, once one is free. Raises what `check` raises."""
        size = streamed_part_size(number, self._first_size)
        most = max(FEWEST, self._budget // size)
        while self._made >= most:
            buffer = self._next_free()
            if len(buffer) == size:
                return buffer
            self._made -= 1
            del buffer  # before the larger one is made
        self._made += 1
        return bytearray(size)

    def lend(self, buffer: bytearray, job: Callable[[], None]) -> None:
        """Do a job with a buffer that was taken; it is free afterwards."""
        try:
            job()
        finally:
            self._free.put(buffer)

    def _next_free(self) -> bytearray:
        while True:
            try:
                return self._free.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                self._check()
