"""A stream that is looked into is still whole."""

from __future__ import annotations

import pytest

from argosy.direct.blocks import peeked


@pytest.mark.parametrize("count", [0, 1, 7, 1000, 200_000, 300_000])
@pytest.mark.parametrize("length", [1, 7, 1000])
def test_what_was_looked_at_comes_again(count: int, length: int) -> None:
    """Also of 200,000 blocks of a byte: each is looked at once."""
    content = bytes(range(250)) * 800
    starts = range(0, len(content), length)
    blocks = iter([memoryview(content[start : start + length]) for start in starts])
    first, whole = peeked(blocks, count)
    assert first == content[:count]
    assert b"".join(whole) == content


def test_it_takes_no_more_than_it_needs() -> None:
    blocks = iter([memoryview(b"abc"), memoryview(b"def"), memoryview(b"ghi")])
    first, whole = peeked(blocks, 4)
    assert first == b"abcd"
    assert bytes(next(blocks)) == b"ghi"
    assert b"".join(whole) == b"abcdef"


def test_who_gave_a_block_may_write_over_it() -> None:
    buffer = bytearray(b"abc")
    first, whole = peeked(iter([memoryview(buffer)]), 10)
    buffer[:] = b"xyz"
    assert (first, b"".join(whole)) == (b"abc", b"abc")
