"""Parts as they were sent, and the whole as it was hashed, come to the same number or differ."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.storage.body import BytesBody
from argosy.storage.part_hashes import HashedPart, PartHashes, are_of, fold
from argosy.storage.parts import part_ranges


def cut(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def whole(content: bytes, part_size: int, block_size: int) -> int:
    hashes = PartHashes(part_size)
    assert b"".join(hashes.through(cut(content, block_size))) == content
    return hashes.folded


def sent(content: bytes, part_size: int) -> list[int]:
    found = []
    for number, (start, length) in enumerate(part_ranges(len(content), part_size), 1):
        part = HashedPart(BytesBody(content[start : start + length]), number)
        assert part.size == length
        assert b"".join(part.blocks()) == content[start : start + length]
        found.append(part.xxh3)
    return found


@given(
    content=st.binary(min_size=1, max_size=300),
    part_size=st.integers(1, 100),
    block_size=st.integers(1, 100),
)
def test_however_it_is_read(content: bytes, part_size: int, block_size: int) -> None:
    hashes = sent(content, part_size)
    assert whole(content, part_size, block_size) == fold(hashes) == fold(reversed(hashes))
    assert all(-(2**63) <= one < 2**63 for one in hashes)


@given(data=st.data(), content=st.binary(min_size=1, max_size=300), part_size=st.integers(1, 100))
def test_a_byte_that_changes_between(data: st.DataObject, content: bytes, part_size: int) -> None:
    at = data.draw(st.integers(0, len(content) - 1))
    other = bytearray(content)
    other[at] ^= data.draw(st.integers(1, 255))
    assert whole(bytes(other), part_size, 64) != fold(sent(content, part_size))


def test_parts_that_change_places() -> None:
    one, two = os.urandom(50), os.urandom(50)
    assert whole(one + two, 50, 64) != whole(two + one, 50, 64)
    assert whole(one + one, 50, 64) != 0, "equal parts must not cancel each other"


def test_what_can_be_said() -> None:
    content = os.urandom(100)
    hashes, folded = sent(content, 30), whole(content, 30, 64)
    assert are_of(hashes, folded)
    assert not are_of(hashes[:-1], folded)
    assert not are_of(hashes, folded + 1)
    assert are_of([*hashes[:-1], None], folded + 1), "nothing can be said of one that is not known"


def test_a_pass_begins_anew() -> None:
    part = HashedPart(BytesBody(os.urandom(2_500_000)), 3)
    next(part.blocks())
    first = part.xxh3
    list(part.blocks())
    assert part.xxh3 != first
    assert part.xxh3 == fold([part.xxh3])
    again = part.xxh3
    list(part.blocks())
    assert part.xxh3 == again


def test_a_body_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    body = BytesBody(b"x" * 10)

    def fail() -> Iterator[memoryview]:
        yield memoryview(b"x")
        raise OSError("gone")

    monkeypatch.setattr(body, "blocks", fail)
    with pytest.raises(OSError, match="gone"):
        list(HashedPart(body, 1).blocks())
