"""A file in ranges reads like a file on disk, and fetches little."""

from __future__ import annotations

import io
import os
import random

import pytest

from media.source import FIRST_FETCH, LARGEST_FETCH, SourceFile, TrafficExceeded
from tests.unit.media.memory_source import MemorySource

CONTENT = random.Random(5).randbytes(3_000_000)


@pytest.mark.parametrize("seed", range(5))
def test_any_reads_and_seeks_are_those_of_a_file(seed: int) -> None:
    chance = random.Random(seed)
    expected, found = io.BytesIO(CONTENT), SourceFile(MemorySource(CONTENT))
    for _ in range(300):
        whence = chance.choice((os.SEEK_SET, os.SEEK_END))
        place = chance.randrange(len(CONTENT) + 10)
        offset = place if whence == os.SEEK_SET else place - len(CONTENT)
        assert found.seek(offset, whence) == expected.seek(offset, whence) == found.tell()
        for _ in range(chance.randrange(4)):
            length = chance.choice((0, 1, 100, 70_000, 5_000_000, -1))
            assert found.read(length) == expected.read(length)
            assert found.tell() == expected.tell()


def test_a_row_is_fetched_in_growing_ranges_and_once() -> None:
    source = MemorySource(CONTENT)
    file = SourceFile(source)
    while file.read(1000):
        continue
    assert source.fetched == len(CONTENT)
    assert len(source.reads) < 10
    assert [length for _, length in source.reads[:3]] == [FIRST_FETCH * 2**n for n in range(3)]


def test_a_jump_costs_little_and_going_back_nothing() -> None:
    source = MemorySource(CONTENT)
    file = SourceFile(source)
    for place in (0, 1_000_000, 2_000_000, 10, 1_000_100, 2_000_050):
        file.seek(place)
        file.read(200)
    assert source.fetched == 3 * FIRST_FETCH


def test_no_range_is_larger_than_the_largest() -> None:
    source = MemorySource(CONTENT * 4)
    assert SourceFile(source).read() == source.content
    assert max(length for _, length in source.reads) == LARGEST_FETCH


def test_nothing_lies_before_the_beginning() -> None:
    with pytest.raises(ValueError, match="before the file begins"):
        SourceFile(MemorySource(b"abc")).seek(-4, os.SEEK_END)


def test_what_the_source_raises_goes_through_a_buffer() -> None:
    class Spent(MemorySource):
        def read(self, offset: int, length: int) -> bytes:
            raise TrafficExceeded("spent")

    with pytest.raises(TrafficExceeded):
        io.BufferedReader(SourceFile(Spent(b"abc"))).read(1)
