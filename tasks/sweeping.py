"""A round of the retention sweep: batch by batch it claims, removes, and enters what is gone.

Between two steps a worker may die: what it has claimed is claimed again by the next round,
what it has removed is found gone. Two rounds at once share the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from argosy.errors import Error
from models import rounds
from models.overdue import Overdue, Position, Terms
from models.sweep import Batch, claim_batch, finish, hold_on
from tasks.fleet import fleet
from tasks.leaving import leaving
from tasks.removal import remove

log = structlog.get_logger(__name__)

NAME = "sweep"
"""Of its rows in `rounds`."""
BY = "transfer.sweep"
"""By whom a file was removed, as its tombstone says."""
MOST_FAILURES = 2
"""Batches after one another that Storage fails, after which it is taken to be away."""


@dataclass
class Counts:
    """What came of a round: files, but for `objects` and `bytes`."""

    removed: int = 0
    bytes: int = 0
    objects: int = 0
    kept_pinned: int = 0
    kept_live: int = 0
    renewed: int = 0
    left: int = 0

    def document(self) -> dict[str, int]:
        """As plain JSON types."""
        return asdict(self)

    def note(self, batch: Batch) -> None:
        """Count what was kept of a batch."""
        self.kept_pinned += batch.pinned
        self.kept_live += batch.live
        self.renewed += batch.renewed


Heard = Callable[[Overdue], None]


@dataclass
class Sweep:
    """One round. `worker` claims; `heard` is told of each file that is gone.

    `seconds` is how long it begins further batches, unless its worker has to go before; `after`
    is where it begins.
    """

    worker: str
    seconds: float = float("inf")
    after: Position | None = None
    heard: Heard = lambda _file: None
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.terms = Terms.of(fleet().settings)
        self._failures = 0

    def run(self) -> Position | None:
        """Sweep; returns where another round should go on, or None where all was looked at.

        None also while Storage is away: the next round by the clock begins anew.
        """
        until = time.monotonic() + self.seconds
        number = fleet().transact(lambda session: rounds.begin(session, NAME))
        more = self._run(number, until)
        self._note(number, ended=True)
        log.info("sweep.ended", more=more is not None, **self.counts.document())
        return more

    def _run(self, number: int, until: float) -> Position | None:
        while (batch := self._claim()).last:
            self.counts.note(batch)
            self.after = batch.last
            if batch.rows:
                self._sweep(batch)
            self._note(number, ended=False)
            if self._failures >= MOST_FAILURES:
                return None
            if leaving.now or time.monotonic() > until:
                return self.after
        return None

    def _claim(self) -> Batch:
        return fleet().transact(
            lambda session: claim_batch(
                session,
                self.terms,
                self.after,
                lease_seconds=_lease_seconds(),
                worker=self.worker,
            )
        )

    def _sweep(self, batch: Batch) -> None:
        removed, error = _remove_all(self.terms, batch)
        self._failures = self._failures + 1 if error else 0
        gone = fleet().transact(lambda session: _enter(session, batch, removed))
        self.counts.left += len(batch.rows) - len(gone)
        for file in gone:
            self._count(batch.claimed[file])

    def _count(self, gone: Overdue) -> None:
        self.counts.removed += 1
        self.counts.objects += len(gone.objects)
        self.counts.bytes += gone.freed
        self.heard(gone)

    def _note(self, number: int, *, ended: bool) -> None:
        document = self.counts.document()
        fleet().transact(lambda session: rounds.note(session, number, document, ended=ended))


def _lease_seconds() -> float:
    """Long enough for a removal that is tried again."""
    settings = fleet().settings
    return settings.lease_seconds + settings.storage_deadline_seconds


def _remove_all(terms: Terms, batch: Batch) -> tuple[Mapping[UUID, Overdue], Error | None]:
    """The files of which nothing is left, and the error that Storage ended it with.

    What is derived goes first: while the file itself is there, another round finds the rest.
    """
    files = batch.claimed
    derived = [name for one in files.values() for name in one.derived]
    first = remove(terms, derived)
    if derived:
        held = fleet().transact(
            lambda session: hold_on(session, batch.rows.values(), _lease_seconds())
        )
        files = {file: one for file, one in files.items() if file in held}
    if first.error:
        return {}, first.error
    bare = {file: one for file, one in files.items() if first.left.isdisjoint(one.derived)}
    then = remove(terms, [one.path for one in bare.values()])
    return {file: one for file, one in bare.items() if one.path not in then.left}, then.error


def _enter(session: Session, batch: Batch, removed: Mapping[UUID, Overdue]) -> frozenset[UUID]:
    """Enter what is gone, and leave the rest to the next round at once."""
    gone = finish(session, batch.rows.values(), removed, BY)
    rest = [row for file, row in batch.rows.items() if file not in gone]
    if rest:
        hold_on(session, rest, 0)
    return gone
