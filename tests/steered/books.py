"""What is true of the rows after every step, and of everything once nothing moves any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row

from models import DIGEST, ENDED, ChunkState, State
from tasks.claims import ChunkClaim
from tests.faults.history import EventRow, disagreements, violations
from tests.steered.broker import Results
from tests.steered.workers import Worker
from tests.steered.world import World

PLANNED = frozenset({State.MOVING, State.PAUSED, State.ASSEMBLING, State.COMPLETED})
"""States in which the ledger counts; a transfer that has ended otherwise counts no more."""
WHOLE = frozenset({State.ASSEMBLING, State.COMPLETED})
FAIL = frozenset({"storage_refused", "too_many_attempts", "transfer_cancelled"})
"""What may end a transfer here: Storage refuses, or its workers die each time."""


@dataclass(frozen=True)
class Rows:
    """The rows at one moment, by their keys."""

    transfers: Mapping[UUID, Any]
    chunks: Mapping[tuple[UUID, int], Any]
    callers: Mapping[UUID, Any]
    events: list[EventRow]


class Reader:
    """Reads the rows, all at once."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, row_factory=namedtuple_row)

    def read(self, after: int) -> Rows:
        """The rows; of the events those whose ids are higher."""
        fields = ", ".join(EventRow._fields)
        with self._connection.pipeline():
            transfers = self._connection.execute("SELECT * FROM argosy.transfers")
            chunks = self._connection.execute("SELECT * FROM argosy.chunks")
            callers = self._connection.execute("SELECT * FROM argosy.continuations")
            events = self._connection.execute(
                f"SELECT {fields} FROM argosy.events WHERE id > %s ORDER BY id", (after,)
            )
        return Rows(
            {row.id: row for row in transfers},
            {(row.transfer_id, row.number): row for row in chunks},
            {row.task_id: row for row in callers},
            [EventRow(*event) for event in events],
        )

    def chunk(self, transfer_id: UUID, number: int) -> Any:
        """What the holder of a chunk may change."""
        query = "SELECT state, epoch, attempts, lease_until, etag, xxh3 FROM argosy.chunks"
        key = " WHERE transfer_id = %s AND number = %s"
        return self._connection.execute(query + key, (transfer_id, number)).fetchone()

    def stage(self, transfer_id: UUID) -> Any:
        """What the holder of a stage may change."""
        query = "SELECT state, epoch, attempts, lease_until FROM argosy.transfers WHERE id = %s"
        return self._connection.execute(query, (transfer_id,)).fetchone()

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()


class Books:
    """Looks at the rows after every step, and remembers how they were before."""

    def __init__(self, world: World, reader: Reader) -> None:
        self.world = world
        self.reader = reader
        self.rows = Rows({}, {}, {}, [])
        self._events: list[EventRow] = []
        self._stale: tuple[Any, Any] | None = None

    def before(self, worker: Worker) -> None:
        """Note what a worker could change whose claim is not its own any more."""
        self._stale = None
        claim = worker.lease.claim if worker.lease else None
        if claim is not None:
            row = self._row_of(claim)
            held = claim.chunk if isinstance(claim, ChunkClaim) else claim.transfer
            if row is not None and row.epoch > held.epoch:
                self._stale = claim, row

    def after(self, worker: Worker) -> list[str]:
        """A stale worker has changed nothing; only what it left is cleaned again."""
        if self._stale is None:
            return []
        claim, was = self._stale
        now = self._row_of(claim)
        if now == was or was.state in ENDED:
            return []
        return [f"{worker.message} had lost its claim, and changed {was} to {now}"]

    def _row_of(self, claim: Any) -> Any:
        if isinstance(claim, ChunkClaim):
            return self.reader.chunk(claim.chunk.transfer_id, claim.chunk.number)
        return self.reader.stage(claim.transfer.id)

    def look(self) -> list[str]:
        """What is wrong now, a sentence each."""
        last = self._events[-1].id if self._events else 0
        before, self.rows = self.rows, self.reader.read(last)
        self._events += self.rows.events
        return [
            *violations(self._events),
            *disagreements(
                self._events, {key: row.state for key, row in self.rows.transfers.items()}
            ),
            *(wrong for key in self.rows.transfers for wrong in self._of_one(key)),
            *_since(before, self.rows),
            *self._claims(),
        ]

    def _of_one(self, key: UUID) -> Iterator[str]:
        row = self.rows.transfers[key]
        mine = [chunk for (of, _), chunk in self.rows.chunks.items() if of == key]
        parts = [chunk for chunk in mine if chunk.number != DIGEST]
        counts = Counter(chunk.state for chunk in mine)
        left = sum(counts.values()) - counts[ChunkState.STORED]
        planned = row.state in PLANNED and row.chunks_left is not None
        if planned and row.chunks_left != left:
            yield f"{key}: chunks_left is {row.chunks_left}, {left} are not stored"
        if row.state in WHOLE and left:
            yield f"{key}: it is {row.state}, and {left} chunks are not stored"
        done = sum(chunk.length for chunk in parts if chunk.state == ChunkState.STORED)
        if planned and row.encoding is None and row.bytes_done != done:
            yield f"{key}: bytes_done is {row.bytes_done}, {done} bytes are stored"
        busy = [chunk for chunk in parts if chunk.state in (ChunkState.QUEUED, ChunkState.MOVING)]
        if row.state in PLANNED and len(busy) > self.world.fleet.settings.window:
            yield f"{key}: {len(busy)} chunks are on their way, more than a window"
        if row.error_code and row.error_code not in FAIL:
            yield f"{key}: it failed with {row.error_code}: {row.error_message}"

    def _claims(self) -> Iterator[str]:
        """No two workers hold the same claim; an old one is held by whom it was taken from."""
        held = Counter(
            (claim.chunk.transfer_id, claim.chunk.number, claim.chunk.epoch)
            for worker in self.world.busy()
            if worker.lease and isinstance(claim := worker.lease.claim, ChunkClaim)
        )
        yield from (
            f"{claim}: {count} workers hold it" for claim, count in held.items() if count > 1
        )


def _since(before: Rows, now: Rows) -> Iterator[str]:
    """What must not have changed in this way."""
    for key, was in before.transfers.items():
        row = now.transfers[key]
        if row.epoch < was.epoch:
            yield f"{key}: its epoch went from {was.epoch} to {row.epoch}"
        if was.state in ENDED and row.state != was.state:
            yield f"{key}: it was {was.state}, and is {row.state}"
    for (key, number), old in before.chunks.items():
        new = now.chunks.get((key, number))
        if new is None or before.transfers[key].encoding != now.transfers[key].encoding:
            continue  # laid out anew
        if new.epoch < old.epoch:
            yield f"{key}: the epoch of chunk {number} went from {old.epoch} to {new.epoch}"
        was, now_is = ((one.state, one.etag, one.xxh3) for one in (old, new))
        if old.state == ChunkState.STORED and now_is != was:
            yield f"{key}: chunk {number} was {was}, and is {now_is}"
        paused = {before.transfers[key].state, now.transfers[key].state} == {State.PAUSED}
        if paused and new.epoch != old.epoch:
            yield f"{key}: chunk {number} was claimed while it is paused"
    for task_id, caller in before.callers.items():
        if caller.settled_at and now.callers[task_id].settled_at != caller.settled_at:
            yield f"caller {task_id} was settled twice"


def at_the_end(world: World, rows: Rows, expected: Mapping[UUID, bytes]) -> list[str]:
    """What is wrong once nothing moves any more; `expected` are the files' bytes by transfer."""
    wrong = [
        *(one for key, row in rows.transfers.items() for one in _ended(world, row, expected[key])),
        *(one for caller in rows.callers.values() for one in _told(caller, rows)),
        *(f"{upload.place} has an unfinished upload" for upload in world.storage.uploads.values()),
        *(f"{path} is left" for path in world.spool.glob(".argosy-*")),
    ]
    known = {(row.bucket, row.object_name) for row in rows.transfers.values()}
    known |= {(file.bucket, file.path) for file in world.stored.values()}
    return wrong + [f"{place} is nobody's" for place in world.storage.objects if place not in known]


def _ended(world: World, row: Any, content: bytes) -> Iterator[str]:
    there = world.storage.objects.get((row.bucket, row.object_name))
    target = world.spool / row.path if row.kind == "download" else None
    if row.state not in ENDED:
        yield f"{row.id}: it is {row.state}, and nothing happens any more"
    elif row.state == State.COMPLETED and target:
        if target.read_bytes() != content:
            yield f"{row.id}: {target} has other bytes"
    elif row.state == State.COMPLETED:
        if there is None or row.sha256 != sha256(content).hexdigest():
            yield f"{row.id}: it is completed, and its object is not there"
        elif (row.stored_sha256 or row.sha256) != sha256(there.content).hexdigest():
            yield f"{row.id}: its object has other bytes"
    else:
        if row.cleaned_at is None:
            yield f"{row.id}: it is {row.state} and was not cleaned"
        if target and target.exists():
            yield f"{row.id}: it is {row.state}, and {target} is there"
        if there and not target:
            yield f"{row.id}: it is {row.state}, and its object is there"


def _told(caller: Any, rows: Rows) -> Iterator[str]:
    """Who waits is told once how it ended; the same word again does no harm."""
    row = rows.transfers[caller.transfer_id]
    told = Results.recorded[str(caller.task_id)]
    if caller.settled_at is None:
        yield f"caller {caller.task_id}: nothing is settled, it was told {told}"
    kinds = {(state, value if state == "FAILURE" else None) for state, value in told}
    ended = ("SUCCESS", None) if row.state == State.COMPLETED else ("FAILURE", row.error_code)
    if kinds != {ended}:
        yield f"caller {caller.task_id}: it was told {told}, its transfer is {row.state}"
