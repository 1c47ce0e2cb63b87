"""What compression costs and saves: the coding alone, on one core, by kind of content."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain

from argosy.coding.decoder import decoded, read_table
from argosy.coding.encoder import encoded
from argosy.derived import Encoding
from argosy.storage.checksum import Digest
from benchmarks.apart import apart
from benchmarks.cargo import BenchmarkFailed
from benchmarks.contents import KINDS, content
from benchmarks.deployment import CLIENT
from benchmarks.measure import MIB, Block, Sample, Series, timed_with_cpu

GROUP = "compression"
NONE = "none"
ENCODE, DECODE = "encode", "decode"
CODERS: Mapping[str, tuple[Encoding, int]] = {
    "zstd 1": ("zstd", 1),
    "zstd 3": ("zstd", 3),
    "zstd 9": ("zstd", 9),
    "gzip 3": ("gzip", 3),
    "gzip 6": ("gzip", 6),
}
"""With their levels."""


class Compression:
    """So many bytes of each kind, by every coder, in a process of its own."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._process: ProcessPoolExecutor | None = None

    def block(self) -> Block:
        """Kind after kind."""
        return Block(GROUP, self._running, [partial(self._case, kind) for kind in KINDS])

    @contextmanager
    def _running(self) -> Iterator[None]:
        with apart() as self._process:
            yield

    def _case(self, kind: str) -> Iterator[Sample]:
        if self._process is None:
            raise BenchmarkFailed("nobody is there to compress")
        yield from self._process.submit(samples, kind, self._size).result()


def samples(kind: str, size: int) -> list[Sample]:
    """All that is measured of one kind; every coder has the same bytes."""
    plain = list(content(kind, size))
    coded = (
        _coder(name, kind, size, plain, encoding, level)
        for name, (encoding, level) in CODERS.items()
    )
    return [_checksums(kind, size, plain), *chain.from_iterable(coded)]


def _checksums(kind: str, size: int, plain: Sequence[bytes]) -> Sample:
    """What any transfer computes over its bytes, compressed or not."""
    digest = Digest()

    def work() -> None:
        for part in plain:
            digest.update(part)

    series = Series(GROUP, NONE, ENCODE, size, CLIENT, of=kind)
    return replace(timed_with_cpu(series, work, _own_cpu)[0], stored=size)


def _coder(
    name: str, kind: str, size: int, plain: Sequence[bytes], encoding: Encoding, level: int
) -> Iterator[Sample]:
    series = Series(GROUP, name, ENCODE, size, CLIENT, of=kind)
    sample, pieces = timed_with_cpu(series, lambda: list(encoded(plain, encoding, level)), _own_cpu)
    stored = b"".join(pieces)
    yield replace(sample, stored=len(stored))
    series = replace(series, action=DECODE)
    yield timed_with_cpu(series, lambda: _count(stored, encoding, size), _own_cpu)[0]
    _must_equal(stored, encoding, plain, series)


def _count(stored: bytes, encoding: Encoding, size: int) -> int:
    """Decode everything and keep nothing, as for a file that goes to disk."""
    return sum(map(len, _decoded(stored, encoding, size)))


def _decoded(stored: bytes, encoding: Encoding, size: int) -> Iterator[bytes]:
    def read(offset: int, length: int) -> bytes:
        return stored[offset : offset + length]

    def blocks(offset: int, length: int) -> Iterator[bytes]:
        for at in range(offset, offset + length, MIB):
            yield stored[at : min(at + MIB, offset + length)]

    table = read_table(encoding, read, len(stored), size)
    return decoded(table, encoding, blocks, 0, size)


def _must_equal(stored: bytes, encoding: Encoding, plain: Sequence[bytes], series: Series) -> None:
    """Raise BenchmarkFailed unless the file comes back, block by block."""
    found = _decoded(stored, encoding, series.size)
    if any(one != other for one, other in zip(found, plain, strict=True)):
        raise BenchmarkFailed(f"{series.subject} gave back other bytes of {series.of}")


def _own_cpu() -> dict[str, float]:
    """Coding is done in the thread that asks."""
    return {CLIENT: time.thread_time()}
