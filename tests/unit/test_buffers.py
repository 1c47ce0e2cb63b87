"""The memory of a stream: few buffers, and parts that grow so that 10,000 of them suffice."""

from __future__ import annotations

import threading

import pytest

from argosy.direct.buffers import Buffers, streamed_part_size
from argosy.reference import MAX_BYTES
from argosy.settings import S3_MAX_PART_BYTES, S3_MIN_PART_BYTES
from argosy.storage.parts import MAX_PARTS

MIB = 1024 * 1024


def _never() -> None:
    return None


@pytest.mark.parametrize("first", [16 * MIB, 64 * MIB, S3_MAX_PART_BYTES])
def test_ten_thousand_parts_hold_the_largest_object(first: int) -> None:
    sizes = [streamed_part_size(number, first) for number in range(1, MAX_PARTS + 1)]
    assert sum(sizes) >= MAX_BYTES
    assert sizes == sorted(sizes)
    assert max(sizes) <= S3_MAX_PART_BYTES
    assert set(sizes[:1000]) == {first}


def test_the_smallest_parts_reach_as_far_as_they_can() -> None:
    sizes = [streamed_part_size(n, S3_MIN_PART_BYTES) for n in range(1, MAX_PARTS + 1)]
    assert sum(sizes) >= 4.8 * 1024**4


@pytest.mark.parametrize(("count", "expected"), [(1, 2), (2, 2), (4, 4)])
def test_there_are_so_many_and_no_more(count: int, expected: int) -> None:
    buffers = Buffers(bytearray(10), count, _gives_up)
    taken = [buffers.take(2 + n) for n in range(expected - 1)]
    assert [len(buffer) for buffer in taken] == [10] * (expected - 1)
    with pytest.raises(TimeoutError):
        buffers.take(expected + 1)
    buffers.lend(taken[0], _never)
    assert buffers.take(expected + 1) is taken[0]


def _gives_up() -> None:
    raise TimeoutError


def test_a_job_that_fails_gives_its_buffer_back() -> None:
    first = bytearray(10)
    buffers = Buffers(first, 1, _gives_up)
    buffers.take(2)
    with pytest.raises(TimeoutError):
        buffers.lend(first, _gives_up)
    assert buffers.take(3) is first


def test_larger_parts_take_the_place_of_several() -> None:
    first = bytearray(10)
    buffers = Buffers(first, 4, _gives_up)
    taken = [first, *(buffers.take(n) for n in (2, 3, 4))]
    for buffer in taken:
        buffers.lend(buffer, _never)
    grown = [buffers.take(1001), buffers.take(1002)]
    assert [len(buffer) for buffer in grown] == [20, 20]
    with pytest.raises(TimeoutError):
        buffers.take(1003)
    for buffer in grown:
        buffers.lend(buffer, _never)
    assert [len(buffers.take(n)) for n in (2001, 2002)] == [40, 40], "two there must be"


def test_it_waits_for_one_to_be_free() -> None:
    first = bytearray(10)
    buffers = Buffers(first, 1, _never)
    buffers.take(2)
    free = threading.Timer(0.05, buffers.lend, (first, _never))
    free.start()
    assert buffers.take(3) is first
    free.join()
