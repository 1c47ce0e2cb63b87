"""A body that goes out no faster than its agent and the fleet may."""

from __future__ import annotations

from collections.abc import Iterator

from argosy.storage.body import Body
from tasks.lease import Lease


class Paced:
    """The same bytes; each pass waits where a limit says so, and ends with LeaseLost.

    Blocks are small where the rate is, so that the connection is never silent for long.
    """

    def __init__(self, body: Body, lease: Lease) -> None:
        self.size = body.size
        self._body, self._lease = body, lease

    def blocks(self) -> Iterator[bytes | memoryview]:
        """A fresh pass. Raises what the body raises."""
        for block in self._body.blocks():
            with memoryview(block) as whole:
                yield from self._pieces(whole)

    def _pieces(self, whole: memoryview) -> Iterator[memoryview]:
        start = 0
        while start < len(whole):
            with whole[start : start + self._lease.block_bytes] as piece:
                yield piece
                start += len(piece)
                self._lease.moved(len(piece))
