"""Files that are compressed on their way up and take longer than one message may be at them.

The fleet's own tasks run here on a clock that the test moves (see `tests.steered`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

import tasks.encode
import tasks.encoded_upload
import tasks.lease
from argosy.storage.body import read_range
from models import DIGEST, State
from tests.integration.test_compressed_uploads import write_text
from tests.integration.test_ledger_crashes import crash
from tests.integration.test_ledger_machine import machine_in, reader, world
from tests.steered.books import Books, Reader, at_the_end
from tests.steered.broker import Message
from tests.steered.moments import Breaks
from tests.steered.storage import Store
from tests.steered.workers import Worker
from tests.steered.world import World

__all__ = ["reader", "world"]  # fixtures of theirs

PART = 600_000
SIZE = 24_000_000
"""Six frames, each of which is a part or more once it is encoded; 40 parts as it is."""
PASS = 12.0
PATIENCE = 30


@dataclass
class Clock:
    """The time, and what takes how much of it: each part, each block that is read."""

    now: float = 0.0
    a_part: float = 0.0
    a_part_begins: float = 0.0
    a_block: float = 0.0
    at_the_first_block: Callable[[], None] | None = None

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        return self.now


class Watch:
    """The encoder's clock: it looks at it as it begins to wait for a part, and again after."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.waits = threading.Event()

    def monotonic(self) -> float:
        """As `time.monotonic`."""
        now = self._clock.now
        if self.waits.is_set():
            self.waits.clear()
        else:
            self.waits.set()
        return now

    def spend(self, seconds: float) -> None:
        """Let a part take its time, once the encoder has nothing else to do."""
        if seconds and self._clock.now <= PASS:
            assert self.waits.wait(PATIENCE)
        self._clock.now += seconds


class Upload:
    """One upload that is to be compressed, and the workers that carry it."""

    def __init__(self, world: World, reader: Reader, source: Path, clock: Clock) -> None:
        self.clock = clock
        self.sent: list[int] = []
        """Numbers of the parts that were stored, as often as they were."""
        self.uploads: list[str] = []
        """The multipart uploads that they went into, in that order."""
        self._world, self._books = world, Books(world, reader)
        self._reader, self._content = reader, source.read_bytes()
        self._is_other = False
        self.id = UUID(world.ask("transfer.upload", str(source), compress="zstd").id)

    @property
    def row(self) -> Any:
        """The transfer, as it was after the last step."""
        return self._books.rows.transfers[self.id]

    @property
    def claims(self) -> int:
        """How often a worker has begun a pass over the file."""
        return int(self._reader.chunk(self.id, DIGEST).epoch)

    @property
    def reason(self) -> str | None:
        """Why its last pass was put back."""
        query = "SELECT last_error FROM argosy.chunks WHERE transfer_id = :id AND number = 0"
        return self._ask(query)[0]

    @property
    def skipped(self) -> list[str]:
        """What its provenance says of why it is not compressed."""
        query = "SELECT detail ->> 'reason' FROM argosy.provenance WHERE transfer_id = :id"
        return self._ask(f"{query} AND outcome = 'skipped' ORDER BY id")

    def use_level(self, level: int) -> None:
        """Another level from now on, as if another version of the library had its own mind."""
        query = "UPDATE argosy.transfers SET encoding_level = :level WHERE id = :id"
        self._ask(f"{query} RETURNING encoding_level", level=level)
        self._is_other = True

    def _ask(self, query: str, **values: Any) -> list[Any]:
        given = {"id": self.id, **values}
        return self._world.look(lambda session: list(session.scalars(text(query), given)))

    def carry(self) -> None:
        """Have all done that there are messages for."""
        while self._world.broker.waiting or self._world.busy():
            busy = self._world.busy()
            self._step(busy[0] if busy else self._world.deliver(self._world.broker.take(0)))

    def run(self, message: Message) -> None:
        """Have a message done by a worker of its own."""
        worker = self._world.deliver(message)
        while worker.at is not None:
            worker.step()

    def control(self, what: str) -> None:
        """Its agent cancels or pauses it, which is done at once."""
        message = self._world.ask(f"transfer.{what}", str(self.id))
        self._world.broker.waiting.remove(message)
        self.run(message)

    def resume(self) -> None:
        """Every wait for a message is over: have what is due sent again, and done."""
        self._world.overdue(leases=True)
        self.run(self._world.own("transfer.resume"))
        self.carry()

    def finish(self) -> None:
        """Have it come to its end, and compare what is in Storage with the rows."""
        for _ in range(8):
            self.resume()
        wrong = at_the_end(self._world, self._books.rows, {self.id: self._content})
        assert not wrong, "\n".join(wrong)

    def _step(self, worker: Worker) -> None:
        worker.step()
        if worker.at is None and not worker.acknowledged:
            self._world.broker.give_back(worker.message)
        wrong = [one for one in self._books.look() if not self._may_be(one)]
        assert not wrong, "\n".join(wrong)

    def _may_be(self, wrong: str) -> bool:
        return self._is_other and "was ('stored'" in wrong


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (tasks.lease, tasks.encoded_upload):
        monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(tasks.lease, "PASS_SECONDS", PASS)
    return made


@pytest.fixture
def upload(
    world: World, reader: Reader, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Upload]:
    """An upload that was asked for; reading it and sending its parts takes as the clock says."""
    world.reset()
    before = world.fleet.settings
    world.set(part_size=PART, chunk_threshold=PART)
    source = write_text(world.spool / "words", SIZE)
    made = Upload(world, reader, source, clock)
    store_part, watch = Store.upload_part, Watch(clock)

    def upload_part(
        self: Store, bucket: str, key: str, upload_id: str, number: int, body: Any
    ) -> str:
        watch.spend(clock.a_part_begins)
        etag = store_part(self, bucket, key, upload_id, number, body)
        watch.spend(clock.a_part)
        made.sent.append(number)
        if upload_id not in made.uploads:
            made.uploads.append(upload_id)
        return etag

    def blocks(fd: int, offset: int, length: int) -> Iterator[bytes]:
        for block in read_range(fd, offset, length):
            event, clock.at_the_first_block = clock.at_the_first_block, None
            if event:
                event()
            clock.now += clock.a_block
            yield block

    monkeypatch.setattr(tasks.encode, "time", watch)
    monkeypatch.setattr(Store, "upload_part", upload_part)
    monkeypatch.setattr(tasks.encoded_upload, "read_range", blocks)
    yield made
    world.end()
    source.unlink()
    world.fleet.settings = before


def test_over_a_slow_line_it_goes_on_where_it_was(upload: Upload) -> None:
    upload.clock.a_part = 5
    upload.carry()
    assert (upload.row.state, upload.claims) == (State.MOVING, 1)
    assert upload.reason
    assert "longer than one message" in upload.reason
    upload.finish()
    assert (upload.row.state, upload.row.encoding) == (State.COMPLETED, "zstd")
    assert upload.sent == list(range(1, upload.row.part_count + 1))
    assert not upload.skipped


def test_what_takes_too_long_to_encode_is_stored_as_it_is(upload: Upload) -> None:
    """One pass tells, although it has stored parts that the next one would not send again."""
    upload.clock.a_block = 1
    upload.carry()
    assert upload.sent[0] == 1
    assert (upload.row.state, upload.row.encoding) == (State.COMPLETED, None)
    assert (upload.row.part_size, upload.row.part_count) == (PART, 40)
    assert upload.claims == 2  # one pass encoded, the other computed the checksums
    assert upload.uploads[1:] == [upload.row.upload_id], "encoded and plain parts in one upload"
    [reason] = upload.skipped
    assert "20 minutes" in reason
    assert "zstd, level 3" in reason
    upload.finish()


def test_a_pass_that_stores_no_part_is_the_last_one(upload: Upload) -> None:
    upload.clock.a_part_begins = 2 * PASS
    upload.carry()
    assert (upload.row.state, upload.row.encoding) == (State.COMPLETED, None)
    assert (upload.claims, len(upload.skipped)) == (2, 1)
    upload.finish()


def test_parts_that_come_out_otherwise_are_sent_again(upload: Upload) -> None:
    upload.clock.a_part = 5
    upload.carry()
    upload.clock.a_part = 0
    upload.use_level(9)
    upload.finish()
    assert (upload.row.state, upload.row.encoding) == (State.COMPLETED, "zstd")
    assert sorted(set(upload.sent)) == list(range(1, upload.row.part_count + 1))
    assert upload.sent.count(1) == 2


@pytest.mark.parametrize("what", ["cancel", "pause"])
def test_who_stops_it_meanwhile_has_it_stopped(upload: Upload, what: str) -> None:
    upload.clock.a_block = 1
    upload.clock.at_the_first_block = lambda: upload.control(what)
    upload.carry()
    assert (upload.row.state, upload.row.encoding) == (
        {"cancel": State.CANCELLED, "pause": State.PAUSED}[what],
        "zstd",
    )
    assert not upload.skipped
    if what == "pause":
        upload.control("unpause")
    upload.finish()
    assert upload.row.state == (State.COMPLETED if what == "pause" else State.CANCELLED)


def test_of_two_that_give_up_one_counts(world: World, upload: Upload) -> None:
    """The broker takes a worker for gone: another has its message, and is as slow."""

    def take_over() -> None:
        [busy] = [one for one in world.workers if one.at and "digest" in one.message.task]
        upload.run(replace(busy.message, redelivered=True))

    upload.clock.a_block = 1
    upload.clock.at_the_first_block = take_over
    upload.carry()
    assert (upload.row.state, upload.row.encoding) == (State.COMPLETED, None)
    assert upload.claims == 3
    assert len(upload.skipped) == 1
    upload.finish()


@pytest.mark.parametrize("breaks", Breaks)
def test_a_crash_at_each_moment_of_giving_up(
    world: World, reader: Reader, monkeypatch: pytest.MonkeyPatch, breaks: Breaks
) -> None:
    monkeypatch.setattr(tasks.lease, "PASS_SECONDS", -1)
    after = 0
    while not crash(machine_in(world, reader)(), "encoded", "transfer.digest", (breaks, after)):
        after += 1
    assert after > 5
