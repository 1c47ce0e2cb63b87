"""The books compared with Storage and with each other, page by page.

What is compared stands in deploy/supabase/50_books.sql: the fleet may not read Storage's tables.
A page is one transaction, and all that is in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.difference import DEEP, Difference, Differing

PAGE = 1000
"""Things that are looked at in one transaction."""

Looked = tuple[list[Difference], str | None]
"""What differs in a page, and the key that it came to; None where there was nothing more."""
Look = Callable[[Callable[[Session], Looked]], Looked]
"""Does a look in a transaction of its own."""


@dataclass(frozen=True)
class Book:
    """One comparison: the function that makes it; some go through one bucket at a time."""

    function: str
    by_bucket: bool = False


FILES = Book("differing_files")
DERIVATIVES = Book("differing_derivatives")
LEASES = Book("stale_leases")
GRANTS = Book("grants_without_file")
PINS = Book("pins_without_file")
UPLOADS = Book("stray_uploads", by_bucket=True)
OBJECTS = Book("stray_objects", by_bucket=True)
BOOKS = (FILES, DERIVATIVES, LEASES, GRANTS, PINS, UPLOADS, OBJECTS)
"""Rows first: what is found out about them decides on what else is kept."""


@dataclass(frozen=True)
class Page:
    """Differences that one look has found, in these buckets."""

    book: Book
    buckets: Sequence[str]
    differences: Sequence[Difference]

    def holding(self, differences: Sequence[Difference]) -> Page:
        """A page of these alone."""
        return replace(self, differences=differences)


def pages(look: Look, buckets: Sequence[str], *, older_than: float) -> Iterator[Page]:
    """Everything in these buckets that has differed for `older_than` seconds."""
    for book in BOOKS:
        for some in [[bucket] for bucket in buckets] if book.by_bucket else [list(buckets)]:
            yield from _pages_of(look, book, some, older_than)


def _pages_of(look: Look, book: Book, buckets: Sequence[str], older_than: float) -> Iterator[Page]:
    after: str | None = ""
    while after is not None:
        asking = partial(_ask, book=book, buckets=buckets, older_than=older_than, after=after)
        found, after = look(asking)
        if found:
            yield Page(book, buckets, found)


def look_again(session: Session, page: Page, *, older_than: float) -> list[Difference]:
    """Those of a page that still differ, as they are now."""
    keys = [one.key for one in page.differences]
    return _ask(session, page.book, page.buckets, older_than, "", keys)[0]


def counts(look: Look, buckets: Sequence[str], *, older_than: float) -> dict[str, int]:
    """How many differences there are of each kind that shows without reading bytes."""
    found = Counter[str]({kind: 0 for kind in Differing if kind not in DEEP})
    for page in pages(look, buckets, older_than=older_than):
        found.update(one.kind for one in page.differences)
    return dict(found)


def _ask(
    session: Session,
    book: Book,
    buckets: Sequence[str],
    older_than: float,
    after: str,
    these: Sequence[str] | None = None,
) -> Looked:
    query = text(f"SELECT * FROM argosy.{book.function}(:of, :after, :many, :age, :these)")  # noqa: S608
    given: dict[str, Any] = {
        "of": buckets[0] if book.by_bucket else list(buckets),
        "after": after,
        "many": PAGE,
        "age": timedelta(seconds=older_than),
        "these": None if these is None else list(these),
    }
    *rows, last = session.execute(query, given)
    return [_difference(row) for row in rows], last.key


def _difference(row: Any) -> Difference:
    return Difference(Differing(row.kind), *row[1:])
