"""What `argosy reconcile --apply` does about a difference.

Rows are put right by models/amend; objects and unfinished uploads go through the Storage API, which
alone removes their bytes. Right before each batch the books are asked once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from argosy.errors import InvalidRequest
from argosy.storage.control import REMOVAL_BATCH
from argosy.storage.wire import checked_key
from models.amend import AMENDS, BY
from models.difference import REPORTED, Difference
from models.reconcile import OBJECTS, UPLOADS, Book, Page, look_again
from models.transitions import record
from tasks.fleet import Fleet

LEAST_SECONDS = 300.0
"""What differs for less is never repaired: a request that is on its way may explain it."""
ABORT_BATCH = 50
"""Uploads that are given up after one look at the books: each is a request of its own."""
LOCK = 0x4152474F53595250  # "ARGOSYRP": one repair at a time


class Outcome(StrEnum):
    """What became of a difference."""

    REPAIRED = "repaired"
    KEPT = "kept"
    GONE = "gone"
    REPORTED = "reported"
    PERSISTENT = "persistent"


class Busy(Exception):
    """Another repair is at work."""


Told = tuple[Difference, Outcome]


@dataclass(frozen=True)
class Repair:
    """Repairs pages of differences of `older_than` seconds; `persistent` the kept files' too."""

    fleet: Fleet
    older_than: float
    persistent: bool = False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this lasts, no other repair begins. Raises Busy."""
        with self.fleet.session() as holder:
            if not holder.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
                raise Busy
            yield

    def page(self, page: Page) -> Iterator[Told]:
        """Repair what may be, and say of each difference what became of it."""
        doomed = []
        for one in page.differences:
            if (left := self._left(one)) is None:
                doomed.append(one)
            else:
                yield one, left
        size = ABORT_BATCH if page.book == UPLOADS else REMOVAL_BATCH
        for start in range(0, len(doomed), size):
            yield from self._batch(page.holding(doomed[start : start + size]))

    def _left(self, one: Difference) -> Outcome | None:
        """Why a difference is left as it is; None where it is to be repaired."""
        if one.kind in REPORTED:
            return Outcome.REPORTED
        if one.kept:
            return Outcome.KEPT
        is_kept_bucket = one.bucket == self.fleet.settings.persistent_bucket
        return Outcome.PERSISTENT if is_kept_bucket and not self.persistent else None

    def _batch(self, batch: Page) -> Iterator[Told]:
        repaired = self._do(batch)
        rest = [one for one in batch.differences if one.key not in repaired]
        again = {one.key: one for one in self._look(batch.holding(rest))} if rest else {}
        for one in batch.differences:
            if one.key in repaired:
                yield one, Outcome.REPAIRED
            elif one.key in again:
                yield again[one.key], Outcome.KEPT
            else:
                yield one, Outcome.GONE

    def _do(self, batch: Page) -> set[str]:
        if amend := AMENDS.get(batch.book):
            return self.fleet.attempt(lambda session: amend(session, batch, self.older_than))
        return _REMOVALS[batch.book](self, self._doomed(batch))

    def _look(self, batch: Page) -> list[Difference]:
        return self.fleet.attempt(
            lambda session: look_again(session, batch, older_than=self.older_than)
        )

    def _doomed(self, batch: Page) -> list[Difference]:
        """Those that still differ, that nothing keeps, and that a request can name."""
        return [one for one in self._look(batch) if not one.kept and _is_addressable(one.path)]

    def _remove(self, doomed: Sequence[Difference]) -> set[str]:
        """Of those that Storage says it has removed: another repair may have been faster."""
        if not doomed:
            return set()
        gone = set(self.fleet.control.remove(doomed[0].bucket, [one.path for one in doomed]))
        return self._note("object.removed", [one for one in doomed if one.path in gone])

    def _abort(self, doomed: Sequence[Difference]) -> set[str]:
        store = self.fleet.store_as_service()
        for one in doomed:
            store.abort_multipart(one.bucket, one.path, one.key)
        return self._note("upload.aborted", doomed)

    def _note(self, name: str, gone: Sequence[Difference]) -> set[str]:
        def enter(session: Session) -> None:
            for one in gone:
                detail = {"kind": one.kind, "bytes": one.found, "upload": one.id, "by": BY}
                said = {key: value for key, value in detail.items() if value is not None}
                record(session, name, object=one.place, detail=said)

        self.fleet.attempt(enter)
        return {one.key for one in gone}


_REMOVALS: dict[Book, Callable[[Repair, Sequence[Difference]], set[str]]] = {
    OBJECTS: Repair._remove,
    UPLOADS: Repair._abort,
}


def _is_addressable(path: str) -> bool:
    try:
        checked_key(path)
    except InvalidRequest:
        return False
    return True
