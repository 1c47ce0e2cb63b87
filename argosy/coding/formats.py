"""What both containers can do: one interface, and which encoding has which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from argosy.coding.frames import Frame, FrameTable
from argosy.coding.gzip_format import GzipFormat
from argosy.coding.zstd_format import ZstdFormat
from argosy.derived import Encoding


class Format(Protocol):
    """Frames one after the other, and behind them a table that other readers skip."""

    def encoder(self, level: int) -> Callable[[bytes | memoryview], bytes]:
        """What makes a frame of a stretch of the file; for one thread at a time."""

    def decoder(self) -> Callable[[bytes | bytearray, int], bytes]:
        """What makes so many bytes of a frame; for one thread at a time.

        It allocates a few times the size it is told, whatever the frame says of itself.
        Raises FrameTooLarge when there is more, FrameDamaged for everything else.
        """

    def table(self, frames: FrameTable) -> bytes:
        """The table as it is stored: there is one way only to write the same frames."""

    def table_length(self, count: int) -> int:
        """Bytes of the table of so many frames."""

    def entries(self, raw: bytes, count: int) -> Iterator[Frame]:
        """What a table of that length says, true or not: nothing but its length is checked."""


_FORMATS: dict[Encoding, Format] = {"zstd": ZstdFormat(), "gzip": GzipFormat()}


def format_of(encoding: Encoding) -> Format:
    """The container of an encoding."""
    return _FORMATS[encoding]
