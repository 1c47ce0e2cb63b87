"""How large a part is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.storage.parts import (
    MANY_PARTS,
    MAX_PARTS,
    MOST_GROWTH,
    count_parts,
    grown_part_size,
    part_size_for,
)

MIB = 1024 * 1024
USUAL = 16 * MIB


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (1, USUAL),
        (256 * MIB, USUAL),
        (256 * MIB + 1, 17 * MIB),
        (512 * MIB, 32 * MIB),
        (1024 * MIB, 64 * MIB),
        (1024**4, 64 * MIB),
    ],
)
def test_parts_grow_with_the_file(size: int, expected: int) -> None:
    assert grown_part_size(size, USUAL) == expected


@given(st.integers(0, 50 * 1024**4), st.integers(5 * MIB, 64 * MIB))
def test_they_are_few_or_large(size: int, usual: int) -> None:
    grown = grown_part_size(size, usual)
    assert usual <= grown <= MOST_GROWTH * usual
    assert count_parts(size, grown) <= MANY_PARTS or grown == MOST_GROWTH * usual
    assert count_parts(size, part_size_for(size, grown)) <= MAX_PARTS
