"""Which stored ledgers are those of one file, read twice."""

from __future__ import annotations

from uuid import uuid4

import pytest

from argosy.errors import SourceChanged
from argosy.storage.part_hashes import fold
from models import DIGEST, Chunk, Transfer
from tasks.tied import check_tied

FILE = Transfer(id=uuid4(), path="/spool/a")


def ledger(whole: int | None, *parts: int | None) -> list[Chunk]:
    return [Chunk(number=number, xxh3=xxh3) for number, xxh3 in enumerate((whole, *parts))]


def test_they_are_tied() -> None:
    check_tied(FILE, ledger(fold([5, -7, 11]), 5, -7, 11))
    check_tied(FILE, ledger(0, 5, 5))


@pytest.mark.parametrize("parts", [(5, -7), (5, -7, 12), (0, 0, 0)])
def test_they_are_not(parts: tuple[int, ...]) -> None:
    with pytest.raises(SourceChanged, match=r"^/spool/a was written.*Upload it again"):
        check_tied(FILE, ledger(fold([5, -7, 11]), *parts))


@pytest.mark.parametrize("entries", [(None, 1, 2), (4, None, 2), (4, 1, None), (None, None, None)])
def test_what_was_not_hashed_is_not_compared(entries: tuple[int | None, ...]) -> None:
    check_tied(FILE, ledger(*entries))


def test_nor_is_what_has_no_pass_over_the_whole() -> None:
    """Parts of a copy, and of a file that was encoded and then sent as it is."""
    check_tied(FILE, [one for one in ledger(0, 1, 2) if one.number != DIGEST])
    check_tied(FILE, [])
