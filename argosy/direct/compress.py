"""Whether a file is compressed on its way up, and compressing it while it is read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from argosy.coding.encoder import Encoder
from argosy.coding.worth import is_worth, sample_ranges
from argosy.derived import Encoding
from argosy.direct.source import Source
from argosy.options import Compress
from argosy.progress import Meter
from argosy.storage.checksum import Checksums, Digest

log = logging.getLogger(__name__)

LEVEL = 3
"""Of zstd and of gzip: what a fleet takes that is told nothing else."""
SAVING = 0.05
"""The share that "auto" must save."""
STREAM_SAMPLE = 1024 * 1024
"""Bytes of a stream's beginning by which "auto" judges it."""


def encoding_for(
    wish: Compress | None,
    content_type: str,
    samples: Callable[[], Sequence[bytes]],
    *,
    size: int | None,
    expansion: int,
) -> Encoding | None:
    """How a file is to be encoded; None leaves it as it is. `size` is None of a stream."""
    if wish != "auto":
        return wish
    verdict = is_worth(
        content_type,
        samples(),
        encoding="zstd",
        level=LEVEL,
        saving=SAVING,
        size=size,
        expansion=expansion,
    )
    log.info("upload.judged", extra={"worth": verdict.worth, "reason": verdict.reason})
    return "zstd" if verdict.worth else None


def samples_of(source: Source) -> list[bytes]:
    """Bytes from here and there in a source, some 1 MiB in all."""
    return [
        b"".join(source.body(offset, length).blocks())
        for offset, length in sample_ranges(source.size)
    ]


class Encoded:
    """The blocks of a file, encoded as they are read. `read` are its own bytes so far."""

    def __init__(self, blocks: Iterable[bytes | memoryview], encoding: Encoding) -> None:
        self.read = 0
        self._blocks = blocks
        self._encoder = Encoder(encoding, LEVEL)
        self._digest = Digest()

    @property
    def sums(self) -> Checksums:
        """Of the file itself, once all of it was read."""
        return self._digest.checksums()

    def __iter__(self) -> Iterator[bytes]:
        """What is to be stored. Raises what the blocks raise."""
        with ThreadPoolExecutor(1, thread_name_prefix="argosy-digest") as helper:
            for block in self._blocks:
                beside = helper.submit(self._digest.update, block)
                self.read += len(block)
                yield from self._encoder.update(block)
                beside.result()  # before the next block comes, perhaps in the same memory
        yield from self._encoder.finish()


class Share:
    """Tells of the stored bytes of a part, as they move, in the file's own bytes."""

    def __init__(self, meter: Meter, size: int, stored: int) -> None:
        self._meter = meter
        self._size, self._stored = size, stored
        self._moved = self._told = 0

    def moved(self, count: int) -> None:
        """So many stored bytes more; fewer, when negative."""
        self._moved += count
        reached = self._size * self._moved // self._stored
        self._meter.add(reached - self._told)
        self._told = reached
