"""Compresses a file as it goes by, frame after frame, and writes the table behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from argosy.coding.formats import format_of
from argosy.coding.frames import FRAME_BYTES, Frame, FrameTable
from argosy.derived import Encoding


class Encoder:
    """Takes a file in blocks of any size, gives what is stored for it.

    The same file at the same level gives the same bytes, however it is cut. `level` is
    zstd's, 1 to 22, or gzip's, 1 to 9. One thread at a time.
    """

    def __init__(self, encoding: Encoding, level: int) -> None:
        self._format = format_of(encoding)
        self._encode = self._format.encoder(level)
        self._waiting = bytearray()
        self._table = FrameTable()

    @property
    def table(self) -> FrameTable:
        """The frames so far."""
        return self._table

    def update(self, block: bytes | memoryview) -> Iterator[bytes]:
        """The next bytes of the file: the frames that they fill.

        What is not iterated is not done: take all before the next call.
        """
        with memoryview(block) as view, view.cast("B") as plain:
            position = 0
            while position < len(plain):
                end = position + FRAME_BYTES - len(self._waiting)
                with plain[position:end] as piece:
                    yield from self._take(piece)
                position = end

    def finish(self) -> Iterator[bytes]:
        """Nothing follows: the last frame, and the table."""
        if self._waiting:
            yield self._frame(self._waiting)
            self._waiting = bytearray()
        yield self._format.table(self._table)

    def _take(self, piece: memoryview) -> Iterator[bytes]:
        """At most what the frame still lacks. A whole frame is not copied first."""
        if len(piece) == FRAME_BYTES:
            yield self._frame(piece)
            return
        self._waiting += piece
        if len(self._waiting) == FRAME_BYTES:
            yield self._frame(self._waiting)
            self._waiting.clear()

    def _frame(self, plain: bytearray | memoryview) -> bytes:
        with memoryview(plain) as view:
            encoded = self._encode(view)
        self._table.append(Frame(len(encoded), len(plain)))
        return encoded


def encoded(
    blocks: Iterable[bytes | memoryview], encoding: Encoding, level: int
) -> Iterator[bytes]:
    """What is stored for a file that comes in blocks."""
    encoder = Encoder(encoding, level)
    for block in blocks:
        yield from encoder.update(block)
    yield from encoder.finish()
