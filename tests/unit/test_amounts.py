"""What an amount on the command line may be, said in the units in which it is given."""

from __future__ import annotations

import click
import pytest

from argosy.settings import LEAST_RATE
from worker.amounts import Amount, NoLimit, Size


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [
        (Size(LEAST_RATE), "1KB", "'1KB' is too little: give 256KiB or more."),
        (Size(), "10000000TB", "'10000000TB' is too much: give 8388607TiB or less."),
        (Size(500), "1", "'1' is too little: give 500 bytes or more."),
        (Amount(1), "0", "'0' is too little: give 1 or more."),
    ],
)
def test_what_is_allowed_is_said_in_units(kind: Amount, said: str, told: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(said, None, None)
    assert caught.value.message == told


def test_what_is_said_is_allowed() -> None:
    assert Size(LEAST_RATE).convert("256KiB", None, None) == LEAST_RATE
    most = Size().convert("8388607TiB", None, None)
    assert not isinstance(most, NoLimit)
    assert most < 2**63
