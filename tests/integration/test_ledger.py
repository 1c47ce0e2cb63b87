"""The ledger on a real PostgreSQL: claims, takeovers, the last part, what is due again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, make_url, text, update
from sqlalchemy.orm import Session

from alembic import command
from argosy.errors import SourceChanged, SourceMissing, StorageUnavailable
from argosy.storage.parts import MAX_PARTS, count_parts, part_size_for
from local.servers.postgres import Postgres
from local.supabase.schema import apply_schema
from models import DIGEST, ENDED, TRANSITIONS, Agent, Chunk, Event, State, Transfer
from models.chunk_claims import claim_chunk, release_chunk, renew_chunk
from models.continuations import (
    add,
    due_assemblies,
    due_cleanups,
    due_continuations,
    due_plans,
    first_caller,
    owed,
    settle,
)
from models.database import make_sessions
from models.due_chunks import due_chunks
from models.ledger import lay_out, stored_parts
from models.storing import Stored, store_chunk
from models.transitions import IllegalTransition, advance, claim, fail, recorded_error, release
from models.transitions import renew as renew_stage
from models.window import open_window

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024
Answer = TypeVar("Answer")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    server = Postgres(tmp_path_factory.mktemp("postgres"), uuid4().hex)
    server.start()
    try:
        apply_schema(server.url)
        url = make_url(server.url).set(drivername="postgresql+psycopg")
        made = create_engine(url, pool_size=20)
        with made.connect() as connection:
            config = Config(toml_file=str(ROOT / "pyproject.toml"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        yield made
        made.dispose()
    finally:
        server.stop()


class Ledger:
    """Transfers in one database, worked on by anybody."""

    def __init__(self, engine: Engine) -> None:
        self._sessions = make_sessions(engine)
        self.agent = uuid4()
        self.do(lambda session: session.add(Agent(id=self.agent, name=self.agent.hex)))

    def do(self, work: Callable[[Session], Answer]) -> Answer:
        """One transaction."""
        with self._sessions.begin() as session:
            return work(session)

    def at_once(self, *work: Callable[[Session], Answer]) -> list[Answer]:
        """Transactions on connections of their own, begun at the same moment."""
        start = threading.Barrier(len(work))

        def run(one: Callable[[Session], Answer]) -> Answer:
            with self._sessions.begin() as session:
                session.execute(text("SELECT 1"))
                start.wait()
                return one(session)

        with ThreadPoolExecutor(len(work)) as threads:
            return list(threads.map(run, work))

    def transfer(self, state: State = State.MOVING, parts: int = 0, **columns: Any) -> UUID:
        """A transfer, with a ledger of parts of 10 bytes, all in the queue."""
        made = uuid4()
        row = Transfer(
            id=made,
            kind="upload",
            state=state,
            agent_id=columns.pop("agent_id", self.agent),
            request_sha256="0",
            bucket="b",
            object_name="o",
            name="n",
            content_type="t",
            path="/p",
            chunks_left=parts,
            **columns,
        )

        def work(session: Session) -> None:
            session.add(row)
            session.flush()
            if parts:
                lay_out(session, made, parts * 10, 10, digest=False)
                open_window(session, made, parts, 1000)

        self.do(work)
        return made

    def row(self, transfer_id: UUID) -> Transfer:
        return self.do(lambda session: session.get_one(Transfer, transfer_id))

    def chunk(self, transfer_id: UUID, number: int = 1) -> Chunk:
        return self.do(lambda session: session.get_one(Chunk, (transfer_id, number)))

    def claim(self, transfer_id: UUID, number: int = 1, **options: Any) -> Chunk | None:
        return self.do(taking(transfer_id, number, **options))

    def hold(self, transfer_id: UUID, number: int = 1, **options: Any) -> Chunk:
        claimed = self.claim(transfer_id, number, **options)
        assert claimed is not None
        return claimed

    def store(self, chunk: Chunk, etag: str | None = "etag", **facts: Any) -> Stored:
        return self.do(storing(chunk, etag, **facts))

    def events(self, transfer_id: UUID) -> list[str]:
        return self.do(
            lambda session: [
                event.name
                for event in session.query(Event)
                .where(Event.transfer_id == transfer_id)
                .order_by(Event.id)
            ]
        )

    def pass_time(self, seconds: float, transfer_id: UUID) -> None:
        """Everything that is noted of a transfer was that much longer ago."""
        columns = {
            "transfers": ["lease_until", "republish_at", "ended_at", "progress_at", "created_at"],
            "chunks": ["lease_until", "republish_at"],
            "continuations": ["republish_at"],
        }
        for table, names in columns.items():
            sets = ", ".join(f"{name} = {name} - make_interval(secs => :s)" for name in names)
            key = "id" if table == "transfers" else "transfer_id"
            query = f"UPDATE argosy.{table} SET {sets} WHERE {key} = :id"
            values = {"s": seconds, "id": transfer_id}
            self.do(lambda session, q=query, v=values: session.execute(text(q), v) and None)


def taking(
    transfer_id: UUID, number: int = 1, *, takeover: bool = False, worker: str = "w"
) -> Callable[[Session], Chunk | None]:
    return lambda session: claim_chunk(
        session, transfer_id, number, lease_seconds=100, worker=worker, takeover=takeover
    )


def storing(
    chunk: Chunk, etag: str | None = "etag", progress_seconds: float = 0, **facts: Any
) -> Callable[[Session], Stored]:
    return lambda session: store_chunk(
        session,
        chunk,
        etag,
        republish_seconds=1000,
        progress_seconds=progress_seconds,
        **facts,
    )


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM argosy.transfers"))
    return Ledger(engine)


# Claims


def test_of_many_that_claim_a_chunk_at_once_one_wins(ledger: Ledger) -> None:
    for _ in range(10):
        transfer = ledger.transfer(parts=1)
        claims = ledger.at_once(*[taking(transfer, worker=str(n)) for n in range(8)])
        [winner] = [one for one in claims if one]
        row = ledger.chunk(transfer)
        assert (row.worker, row.epoch, row.attempts) == (winner.worker, 1, 1)


def test_of_many_that_claim_a_stage_at_once_one_wins(ledger: Ledger) -> None:
    for _ in range(10):
        transfer = ledger.transfer(State.QUEUED)
        claims = ledger.at_once(*[staging(transfer) for _ in range(8)])
        assert len([one for one in claims if one]) == 1
        assert ledger.row(transfer).epoch == 1


def staging(transfer_id: UUID, *, takeover: bool = False) -> Callable[[Session], Transfer | None]:
    stages = frozenset({State.QUEUED, State.ASSEMBLING})
    return lambda session: claim(
        session, transfer_id, stages, lease_seconds=100, worker="w", takeover=takeover
    )


def test_a_claim_ends_with_its_lease(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=1)
    ledger.hold(transfer)
    assert ledger.claim(transfer) is None
    ledger.pass_time(99, transfer)
    assert ledger.claim(transfer) is None
    ledger.pass_time(2, transfer)
    assert ledger.hold(transfer).epoch == 2


def test_a_takeover_does_not_wait_for_the_lease(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=1)
    ledger.hold(transfer, worker="gone")
    assert ledger.hold(transfer, takeover=True, worker="new").worker == "new"


def test_a_stored_chunk_cannot_be_claimed(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=2)
    assert ledger.store(ledger.hold(transfer)).won
    assert ledger.claim(transfer) is None
    assert ledger.claim(transfer, takeover=True) is None


@pytest.mark.parametrize("state", sorted(set(State) - {State.MOVING}))
def test_chunks_are_claimed_only_while_the_transfer_moves(ledger: Ledger, state: State) -> None:
    transfer = ledger.transfer(state, parts=1)
    assert ledger.claim(transfer) is None
    assert ledger.claim(transfer, takeover=True) is None
    assert ledger.chunk(transfer).epoch == 0


def test_what_is_not_there_cannot_be_claimed(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=1)
    assert ledger.claim(transfer, 2) is None
    assert ledger.claim(uuid4()) is None


def _same(before: Any, after: Any) -> bool:
    return all(
        getattr(before, column.key) == getattr(after, column.key)
        for column in type(before).__table__.columns
    )


def test_a_stale_worker_changes_nothing(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=1)
    stale = ledger.hold(transfer)
    fresh = ledger.hold(transfer, takeover=True)
    chunk, row, events = ledger.chunk(transfer), ledger.row(transfer), ledger.events(transfer)
    assert not ledger.store(stale, sha256="a lie").won
    assert not ledger.do(lambda session: renew_chunk(session, stale, 1000))
    error = StorageUnavailable("late")
    ledger.do(lambda session: release_chunk(session, stale, error, retry_in=0, blameless=False))
    assert _same(chunk, ledger.chunk(transfer))
    assert _same(row, ledger.row(transfer))
    assert ledger.events(transfer) == events
    assert ledger.store(fresh).assembling


def test_a_stale_worker_changes_no_stage(ledger: Ledger) -> None:
    transfer = ledger.transfer(State.QUEUED)
    stale, fresh = ledger.do(staging(transfer)), ledger.do(staging(transfer, takeover=True))
    assert stale and fresh
    row, events = ledger.row(transfer), ledger.events(transfer)
    error = SourceMissing("late")
    assert not ledger.do(lambda session: renew_stage(session, stale, 1000))
    assert not ledger.do(lambda session: fail(session, transfer, error, epoch=stale.epoch))
    assert not ledger.do(
        lambda session: advance(session, stale, State.PLANNED, epoch=stale.epoch, size=5)
    )
    ledger.do(lambda session: release(session, stale, error, retry_in=0, blameless=False))
    assert _same(row, ledger.row(transfer))
    assert ledger.events(transfer) == events
    assert ledger.do(
        lambda session: advance(session, fresh, State.PLANNED, epoch=fresh.epoch, size=5)
    )


def test_the_claim_ends_with_the_stage(ledger: Ledger) -> None:
    transfer = ledger.transfer(State.QUEUED)
    held = ledger.do(staging(transfer))
    assert held and held.attempts == 1
    moved = ledger.do(lambda session: advance(session, held, State.PLANNED, epoch=held.epoch))
    assert moved and (moved.lease_until, moved.attempts) == (None, 0)
    assert not ledger.do(lambda session: renew_stage(session, held, 1000))


def test_a_stage_is_put_back_once(ledger: Ledger) -> None:
    transfer = ledger.transfer(State.QUEUED)
    held = ledger.do(staging(transfer))
    assert held
    away = StorageUnavailable("away")
    for _ in range(2):  # the answer to the first commit was lost
        ledger.do(lambda session: release(session, held, away, retry_in=5, blameless=True))
    assert ledger.row(transfer).attempts == 0
    assert ledger.events(transfer) == ["transfer.put_back"]


def test_a_claim_is_renewed_only_while_the_transfer_moves(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=1)
    held = ledger.hold(transfer)
    assert ledger.do(lambda session: renew_chunk(session, held, 100))
    ledger.do(lambda session: fail(session, transfer, SourceChanged("it did")))
    assert not ledger.do(lambda session: renew_chunk(session, held, 100))
    assert not ledger.store(held).won
    assert ledger.row(transfer).bytes_done == 0


def test_a_chunk_put_back_can_be_taken_again(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=1)
    error = StorageUnavailable("away")
    for blameless, attempts in ((False, 1), (True, 1), (False, 2)):
        held = ledger.hold(transfer)
        ledger.do(
            lambda session, held=held, free=blameless: release_chunk(
                session, held, error, retry_in=5, blameless=free
            )
        )
        row = ledger.chunk(transfer)
        assert (row.state, row.lease_until, row.attempts) == ("queued", None, attempts)
        assert row.last_error and "storage_unavailable" in row.last_error
    assert ledger.events(transfer) == ["chunk.put_back"] * 3


# The machine


@pytest.mark.parametrize("before", State)
def test_only_changes_that_the_machine_has_are_made(ledger: Ledger, before: State) -> None:
    for to in State:
        transfer = ledger.transfer(before)
        row = ledger.row(transfer)
        if to not in TRANSITIONS[before]:
            with pytest.raises(IllegalTransition):
                ledger.do(lambda session, row=row, to=to: advance(session, row, to))
            assert ledger.row(transfer).state == before
            continue
        moved = ledger.do(lambda session, row=row, to=to: advance(session, row, to))
        assert moved and moved.state == to
        assert (moved.ended_at is not None) == (to in ENDED)
        assert ledger.events(transfer) == [f"transfer.{to}"]


def test_of_two_changes_at_once_one_wins(ledger: Ledger) -> None:
    for _ in range(10):
        transfer = ledger.transfer(State.ASSEMBLING)
        row = ledger.row(transfer)
        done = ledger.at_once(
            lambda session, row=row: advance(session, row, State.COMPLETED),
            lambda session, row=row: advance(session, row, State.CANCELLED),
        )
        [winner] = [one for one in done if one]
        assert ledger.row(transfer).state == winner.state
        assert ledger.events(transfer) == [f"transfer.{winner.state}"]


def test_a_transfer_fails_once(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=1)
    error = SourceChanged("It was written.")
    failures = ledger.at_once(*[lambda session: fail(session, transfer, error)] * 4)
    assert sorted(failures) == [False, False, False, True]
    row = ledger.row(transfer)
    assert (row.state, row.error_code, row.error_message) == (
        "failed",
        "source_changed",
        "It was written.",
    )
    again = recorded_error(row)
    assert type(again) is SourceChanged
    assert again.transfer_id == str(transfer)


@pytest.mark.parametrize("state", sorted(ENDED))
def test_what_has_ended_does_not_fail_any_more(ledger: Ledger, state: State) -> None:
    transfer = ledger.transfer(state)
    assert not ledger.do(lambda session: fail(session, transfer, SourceMissing("gone")))
    assert ledger.row(transfer).state == state


# The last part


def test_of_the_last_parts_stored_at_once_exactly_one_assembles(ledger: Ledger) -> None:
    for parts in (2, 2, 2, 3, 4, 8, 8):
        transfer = ledger.transfer(parts=parts)
        held = [ledger.hold(transfer, number + 1) for number in range(parts)]
        done = ledger.at_once(*[storing(one) for one in held])
        assert all(one.won for one in done)
        assert len([one for one in done if one.assembling]) == 1
        row = ledger.row(transfer)
        assert (row.state, row.chunks_left, row.bytes_done) == ("assembling", 0, parts * 10)
        assert ledger.events(transfer) == ["transfer.assembling"]


def test_the_same_part_stored_twice_at_once_counts_once(ledger: Ledger) -> None:
    for _ in range(10):
        transfer = ledger.transfer(parts=2)
        held = ledger.hold(transfer)
        done = ledger.at_once(storing(held), storing(held), storing(held))
        assert sorted(one.won for one in done) == [False, False, True]
        assert ledger.row(transfer).chunks_left == 1


def test_the_last_part_and_a_failure_at_once(ledger: Ledger) -> None:
    for _ in range(10):
        transfer = ledger.transfer(parts=1)
        held = ledger.hold(transfer)
        stored, failed = ledger.at_once(
            storing(held), lambda session, it=transfer: fail(session, it, SourceChanged("!"))
        )
        assert failed is True  # an assembly can fail too
        row = ledger.row(transfer)
        assert row.state == "failed"
        assert isinstance(stored, Stored)
        assert stored.won == (row.chunks_left == 0)


def test_the_digest_is_an_entry_like_any_other(ledger: Ledger) -> None:
    transfer = ledger.transfer()

    def prepare(session: Session) -> None:
        lay_out(session, transfer, 15, 10, digest=True)
        session.get_one(Transfer, transfer).chunks_left = count_parts(15, 10) + 1
        open_window(session, transfer, 3, 1000)

    ledger.do(prepare)
    first = ledger.store(ledger.hold(transfer, DIGEST), None, sha256="sum", md5="md5")
    assert (first.won, first.assembling, first.bytes_done) == (True, False, 0)
    ledger.store(ledger.hold(transfer, 1))
    last = ledger.store(ledger.hold(transfer, 2))
    assert (last.assembling, last.bytes_done) == (True, 15)
    row = ledger.row(transfer)
    assert (row.sha256, row.md5) == ("sum", "md5")
    parts = ledger.do(lambda session: stored_parts(session, transfer))
    assert [(part.number, part.etag) for part in parts] == [(1, "etag"), (2, "etag")]


def test_progress_is_due_once_in_a_while(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=10)
    due = [
        ledger.store(ledger.hold(transfer, number), progress_seconds=100).progress_due
        for number in (1, 2, 3)
    ]
    assert due == [False, False, False]
    ledger.pass_time(101, transfer)
    due = [
        ledger.store(ledger.hold(transfer, number), progress_seconds=100).progress_due
        for number in (4, 5, 6)
    ]
    assert due == [True, False, False]


# Cutting


SIZES = [0, 1, 9, 10, 11, 100_000_000, 100_000_001]


@pytest.mark.parametrize("size", SIZES)
def test_the_parts_are_the_file(ledger: Ledger, size: int) -> None:
    part_size = 10 if size < 1000 else 16 * MIB
    transfer = ledger.transfer()
    ledger.do(lambda session: lay_out(session, transfer, size, part_size, digest=False))
    count = count_parts(size, part_size)
    parts = ledger.do(lambda session: stored_parts(session, transfer))
    assert [part.number for part in parts] == list(range(1, count + 1))
    assert count == max(1, -(-size // part_size))
    _covers(parts, size, part_size)


def _covers(parts: Sequence[Chunk], size: int, part_size: int) -> None:
    position = 0
    for part in parts:
        assert part.offset == position
        position += part.length
    assert position == size
    assert all(part.length == part_size for part in parts[:-1])
    assert 0 <= parts[-1].length <= part_size


def test_an_empty_file_of_no_part_size(ledger: Ledger) -> None:
    transfer = ledger.transfer()
    ledger.do(lambda session: lay_out(session, transfer, 0, 0, digest=False))
    assert len(ledger.do(lambda session: stored_parts(session, transfer))) == count_parts(0, 0) == 1


@pytest.mark.parametrize("size", [16 * MIB * 10_000, 16 * MIB * 10_000 + 1, 5 * 1024**4])
def test_the_largest_files(ledger: Ledger, size: int) -> None:
    part_size = part_size_for(size, 16 * MIB)
    transfer = ledger.transfer()
    ledger.do(lambda session: lay_out(session, transfer, size, part_size, digest=True))
    assert count_parts(size, part_size) <= MAX_PARTS
    parts = ledger.do(lambda session: stored_parts(session, transfer))
    _covers(parts, size, part_size)
    assert ledger.chunk(transfer, DIGEST).length == size


@given(
    st.integers(0, 5 * 1024**4),
    st.integers(5 * MIB, 5 * 1024 * MIB),
)
def test_ten_thousand_parts_always_suffice(size: int, wanted: int) -> None:
    part_size = part_size_for(size, wanted)
    assert -(-size // part_size) <= MAX_PARTS
    assert wanted <= part_size <= 5 * 1024 * MIB
    assert part_size == wanted or part_size % MIB == 0
    if part_size > wanted:
        assert part_size - MIB < -(-size // MAX_PARTS)  # no larger than needed


def test_laying_out_again_forgets_what_was(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=5)
    ledger.store(ledger.hold(transfer))
    ledger.do(lambda session: lay_out(session, transfer, 20, 10, digest=False))
    parts = ledger.do(lambda session: stored_parts(session, transfer))
    assert [(part.number, part.state, part.epoch) for part in parts] == [
        (1, "waiting", 0),
        (2, "waiting", 0),
    ]


# The window


def _laid_out(ledger: Ledger, parts: int) -> UUID:
    transfer = ledger.transfer()

    def work(session: Session) -> None:
        lay_out(session, transfer, parts * 10, 10, digest=False)
        session.get_one(Transfer, transfer).chunks_left = parts

    ledger.do(work)
    return transfer


def _states(ledger: Ledger, transfer: UUID) -> list[str]:
    parts = ledger.do(lambda session: stored_parts(session, transfer))
    return [part.state for part in parts]


@pytest.mark.parametrize("window", [1, 3, 8, 100])
def test_never_more_than_a_window_is_on_its_way(ledger: Ledger, window: int) -> None:
    parts = 10
    transfer = _laid_out(ledger, parts)
    queue = list(ledger.do(lambda session: open_window(session, transfer, window, 1000)))
    assert sorted(queue) == list(range(1, min(window, parts) + 1))
    sent = len(queue)
    while queue:
        done = ledger.store(ledger.hold(transfer, queue.pop(0)))
        on_its_way = [state for state in _states(ledger, transfer) if state in ("queued", "moving")]
        assert len(on_its_way) <= window
        if done.next_number is not None:
            queue.append(done.next_number)
            sent += 1
    assert sent == parts
    assert ledger.row(transfer).state == "assembling"


def test_the_slot_of_the_checksums_is_not_the_next_parts(ledger: Ledger) -> None:
    transfer = ledger.transfer()

    def prepare(session: Session) -> None:
        lay_out(session, transfer, 50, 10, digest=True)
        session.get_one(Transfer, transfer).chunks_left = 6
        open_window(session, transfer, 2 + 1, 1000)

    ledger.do(prepare)
    first = ledger.store(ledger.hold(transfer, DIGEST), None)
    assert (first.won, first.next_number) == (True, None)
    assert _states(ledger, transfer) == ["queued"] * 2 + ["waiting"] * 3
    assert ledger.store(ledger.hold(transfer, 1)).next_number == 3


def test_parts_stored_at_once_open_different_slots(ledger: Ledger) -> None:
    for _ in range(5):
        transfer = _laid_out(ledger, 20)
        ledger.do(lambda session, it=transfer: open_window(session, it, 4, 1000))
        held = [ledger.hold(transfer, number) for number in (1, 2, 3, 4)]
        done = ledger.at_once(*[storing(one) for one in held])
        assert sorted(one.next_number or 0 for one in done) == [5, 6, 7, 8]


def test_what_waits_in_front_is_opened_once_nothing_waits_behind(ledger: Ledger) -> None:
    transfer = _laid_out(ledger, 6)
    ledger.do(lambda session: open_window(session, transfer, 6, 1000))
    for number in (1, 2, 5):  # as a pause leaves it
        _set_waiting(ledger, transfer, number)
    opened = [ledger.store(ledger.hold(transfer, number)).next_number for number in (4, 6, 3)]
    assert opened == [5, 1, 2]


def _set_waiting(ledger: Ledger, transfer: UUID, number: int) -> None:
    put = update(Chunk).where(Chunk.transfer_id == transfer, Chunk.number == number)
    ledger.do(lambda session: session.execute(put.values(state="waiting")))


@pytest.mark.parametrize("stored", [0, 2000])
def test_storing_a_part_reads_no_more_however_many_are_stored(ledger: Ledger, stored: int) -> None:
    transfer = _laid_out(ledger, 2010)
    ledger.do(lambda session: open_window(session, transfer, stored + 4, 1000))
    done = update(Chunk).where(Chunk.transfer_id == transfer, Chunk.number <= stored)
    ledger.do(lambda session: session.execute(done.values(state="stored")))
    held = ledger.hold(transfer, stored + 2)
    ledger.do(lambda session: session.execute(text("ANALYZE argosy.chunks")))  # as autovacuum does

    def work(session: Session) -> tuple[Stored, int]:
        before = session.scalars(text(ROWS_READ)).one()
        return storing(held)(session), session.scalars(text(ROWS_READ)).one() - before

    result, rows = ledger.do(work)
    assert result.next_number == stored + 5
    assert rows < 50


ROWS_READ = """
SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
WHERE schemaname = 'argosy' AND relname = 'chunks'
"""


# What is due again


def _due(ledger: Ledger, republish: float = 60) -> list[int]:
    found = ledger.do(
        lambda session: list(due_chunks(session, limit=500, republish_seconds=republish))
    )
    return sorted(number for _, _, number in found)


def test_a_queued_chunk_is_due_when_its_message_is_overdue(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=2)
    assert _due(ledger) == []
    ledger.pass_time(1001, transfer)
    assert _due(ledger) == [1, 2]
    assert _due(ledger) == []


def test_the_wait_for_an_answer_doubles(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=1)
    ledger.pass_time(1001, transfer)
    waits = []
    for _ in range(9):
        assert _due(ledger, 60) == [1]
        waits.append(_wait(ledger, "chunks", transfer))
        ledger.pass_time(waits[-1] + 1, transfer)
    assert waits == [120, 240, 480, 960, 1920, 3840, 3840, 3840, 3840]


def _wait(ledger: Ledger, table: str, transfer_id: UUID) -> int:
    key = "id" if table == "transfers" else "transfer_id"
    seconds = ledger.do(
        lambda session: session.scalar(
            text(
                f"SELECT extract(epoch FROM republish_at - now()) FROM argosy.{table} "
                f"WHERE {key} = :id"
            ),
            {"id": transfer_id},
        )
    )
    return -(-int(seconds) // 10) * 10  # the few milliseconds since do not matter


def test_a_held_chunk_is_due_when_its_lease_is_over(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=1)
    held = ledger.hold(transfer)
    assert _due(ledger) == []
    ledger.pass_time(101, transfer)
    assert ledger.do(lambda session: renew_chunk(session, held, 100))
    assert _due(ledger) == []
    ledger.pass_time(101, transfer)
    assert _due(ledger) == [1]
    assert ledger.chunk(transfer).state == "queued"
    assert not ledger.store(held).won


def test_a_chunk_put_back_is_due_after_its_pause(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=1)
    held = ledger.hold(transfer)
    error = StorageUnavailable("away")
    ledger.do(lambda session: release_chunk(session, held, error, retry_in=30, blameless=True))
    ledger.pass_time(29, transfer)
    assert _due(ledger) == []
    ledger.pass_time(2, transfer)
    assert _due(ledger) == [1]


@pytest.mark.parametrize("state", sorted(set(State) - {State.MOVING}))
def test_chunks_of_a_transfer_that_does_not_move_are_not_due(ledger: Ledger, state: State) -> None:
    ledger.pass_time(10_000, ledger.transfer(state, parts=1))
    assert _due(ledger) == []


def test_waiting_and_stored_chunks_are_not_due(ledger: Ledger) -> None:
    transfer = _laid_out(ledger, 5)
    ledger.do(lambda session: open_window(session, transfer, 1, 1000))
    ledger.store(ledger.hold(transfer, 1))
    ledger.pass_time(10_000, transfer)
    assert _due(ledger) == [2]


def test_two_that_look_at_once_do_not_send_the_same(ledger: Ledger) -> None:
    for _ in range(5):
        transfer = ledger.transfer(parts=40)
        ledger.pass_time(1001, transfer)
        found = ledger.at_once(
            *[lambda session: list(due_chunks(session, limit=500, republish_seconds=60))] * 3
        )
        numbers = sorted(number for one in found for _, _, number in one)
        assert numbers == list(range(1, 41))


def test_no_more_than_a_batch_is_sent(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=40)
    ledger.pass_time(1001, transfer)
    batches = [
        ledger.do(lambda session: due_chunks(session, limit=15, republish_seconds=60))
        for _ in range(4)
    ]
    assert [len(batch) for batch in batches] == [15, 15, 10, 0]


def _plans(ledger: Ledger) -> list[UUID]:
    return ledger.do(lambda session: list(due_plans(session, limit=9, republish_seconds=60)))


def test_a_transfer_that_waits_for_its_turn_is_not_due(ledger: Ledger) -> None:
    ledger.pass_time(1, ledger.transfer(State.QUEUED))
    assert _plans(ledger) == []


def test_a_transfer_that_nobody_plans_is_due(ledger: Ledger) -> None:
    transfer = ledger.transfer(State.QUEUED, admitted_at=datetime.now(UTC))
    ledger.pass_time(1, transfer)
    assert _plans(ledger) == [transfer]
    assert _plans(ledger) == []
    ledger.pass_time(61, transfer)
    held = ledger.do(staging(transfer))
    assert held
    assert _plans(ledger) == []
    ledger.pass_time(101, transfer)
    assert _plans(ledger) == [transfer]


def _owing(ledger: Ledger, state: State, callers: int = 1) -> tuple[UUID, list[UUID]]:
    transfer = ledger.transfer(state)
    tasks = [transfer, *(uuid4() for _ in range(callers - 1))]
    for task in tasks:
        ledger.do(lambda session, task=task: add(session, task, transfer, {"task": "x"}, 60))
    return transfer, tasks


def test_an_assembly_that_nobody_does_is_due(ledger: Ledger) -> None:
    transfer, _ = _owing(ledger, State.ASSEMBLING, 3)

    def due() -> list[UUID]:
        found = ledger.do(lambda session: due_assemblies(session, limit=9, republish_seconds=60))
        return [one.task_id for one in found]

    ledger.pass_time(1, transfer)
    assert due() == [transfer]
    assert due() == []
    ledger.pass_time(61, transfer)
    assert ledger.do(staging(transfer))
    assert due() == []
    ledger.pass_time(101, transfer)
    assert due() == [transfer]


def test_callers_of_an_ended_transfer_are_owed_until_it_is_settled(ledger: Ledger) -> None:
    transfer, tasks = _owing(ledger, State.FAILED, 3)
    ledger.do(
        lambda session: session.execute(
            text("UPDATE argosy.transfers SET ended_at = now() WHERE id = :id"), {"id": transfer}
        )
    )

    def due() -> set[UUID]:
        found = ledger.do(lambda session: due_continuations(session, limit=9, republish_seconds=60))
        return {one.task_id for one in found}

    assert due() == set()
    ledger.pass_time(61, transfer)
    assert due() == set(tasks)
    assert due() == set()
    ledger.do(lambda session: settle(session, tasks[0]))
    waits = []
    for _ in range(4):
        waits.append(_wait_of(ledger, tasks[1]))
        ledger.pass_time(waits[-1] + 1, transfer)
        assert due() == set(tasks[1:])
    assert waits == [60, 120, 240, 480]


def _wait_of(ledger: Ledger, task_id: UUID) -> int:
    query = "SELECT extract(epoch FROM republish_at - now()) FROM argosy.continuations "
    seconds = ledger.do(
        lambda session: session.scalar(text(query + "WHERE task_id = :id"), {"id": task_id})
    )
    return -(-int(seconds) // 10) * 10


def test_a_caller_is_remembered_once(ledger: Ledger) -> None:
    transfer, _ = _owing(ledger, State.MOVING)
    for request in ({"task": "x"}, {"task": "another"}):
        ledger.do(lambda session, it=request: add(session, transfer, transfer, it, 60))
    first = ledger.do(lambda session: first_caller(session, transfer))
    assert first and first.request == {"task": "x"}
    waiting = ledger.do(lambda session: owed(session, transfer))
    assert [one.task_id for one in waiting] == [transfer]
    assert not ledger.do(lambda session: owed(session, transfer, but=transfer))


def test_what_failed_or_was_cancelled_is_to_be_cleaned(ledger: Ledger) -> None:
    made = {state: ledger.transfer(state) for state in State}
    due = ledger.do(lambda session: due_cleanups(session, limit=99, republish_seconds=60))
    assert set(due) == {made[State.FAILED], made[State.CANCELLED]}
    assert not ledger.do(lambda session: due_cleanups(session, limit=99, republish_seconds=60))


# Any order of events


@dataclass
class Model:
    """What the ledger must do, in the fewest words."""

    parts: int
    state: dict[int, str] = field(default_factory=dict)
    epoch: dict[int, int] = field(default_factory=dict)
    alive: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.state = dict.fromkeys(range(1, self.parts + 1), "queued")
        self.epoch = dict.fromkeys(self.state, 0)

    def done(self) -> bool:
        return all(state == "stored" for state in self.state.values())

    def claim(self, n: int, *, takeover: bool) -> bool:
        if self.state[n] == "stored" or (n in self.alive and not takeover):
            return False
        self.state[n] = "moving"
        self.epoch[n] += 1
        self.alive.add(n)
        self.late.discard(n)
        return True

    def holds(self, n: int, epoch: int) -> bool:
        return self.state[n] == "moving" and self.epoch[n] == epoch

    def put_back(self, n: int) -> None:
        self.state[n] = "queued"
        self.alive.discard(n)
        self.late.discard(n)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "takeover", "store", "renew", "release", "expire", "due"]),
        st.integers(1, 3),
        st.integers(0, 3),
    ),
    max_size=40,
)


@given(STEPS)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_order_of_claims_stores_and_losses(
    ledger: Ledger, steps: list[tuple[str, int, int]]
) -> None:
    ledger.do(lambda session: session.execute(text("DELETE FROM argosy.transfers")) and None)
    transfer, model = ledger.transfer(parts=3), Model(3)
    held: dict[int, list[Chunk]] = {1: [], 2: [], 3: []}
    assemblies = 0
    for verb, number, age in steps:
        ours = held[number][-1 - age] if age < len(held[number]) else None
        if verb in ("claim", "takeover"):
            takeover = verb == "takeover"
            won = model.claim(number, takeover=takeover) if not model.done() else False
            claimed = ledger.claim(transfer, number, takeover=takeover)
            assert (claimed is not None) == won
            if claimed:
                held[number].append(claimed)
        elif verb == "expire":
            _expire(ledger, transfer, number)
            if model.state[number] != "stored":
                model.alive.discard(number)
                model.late.add(number)
        elif verb == "due":
            late = {n for n in model.late if model.state[n] != "stored"}
            assert set(_due(ledger, 1000)) == (set() if model.done() else late)
            for one in late:
                model.put_back(one)
        elif ours:
            holds = model.holds(number, ours.epoch)
            assemblies += _use(ledger, verb, ours, holds=holds)
            if holds and verb == "store":
                model.state[number] = "stored"
            elif holds and verb == "release":
                model.put_back(number)
            elif holds and verb == "renew":
                model.alive.add(number)
                model.late.discard(number)
        _agrees(ledger, transfer, model)
    assert assemblies == int(model.done())


def _use(ledger: Ledger, verb: str, ours: Chunk, *, holds: bool) -> bool:
    if verb == "store":
        stored = ledger.store(ours)
        assert stored.won == holds
        return stored.assembling
    if verb == "renew":
        assert ledger.do(lambda session: renew_chunk(session, ours, 100)) == holds
    else:
        error = StorageUnavailable("away")
        ledger.do(
            lambda session: release_chunk(session, ours, error, retry_in=1000, blameless=False)
        )
    return False


def _expire(ledger: Ledger, transfer: UUID, number: int) -> None:
    query = (
        "UPDATE argosy.chunks SET republish_at = now() - interval '1 second', "
        "lease_until = CASE WHEN lease_until IS NULL THEN NULL "
        "ELSE now() - interval '1 second' END WHERE transfer_id = :id AND number = :number"
    )
    values = {"id": transfer, "number": number}
    ledger.do(lambda session: session.execute(text(query), values) and None)


def _agrees(ledger: Ledger, transfer: UUID, model: Model) -> None:
    row = ledger.row(transfer)
    parts = ledger.do(lambda session: stored_parts(session, transfer))
    assert {part.number: part.state for part in parts} == model.state
    assert {part.number: part.epoch for part in parts} == model.epoch
    left = [state for state in model.state.values() if state != "stored"]
    assert row.chunks_left == len(left)
    assert row.bytes_done == 10 * (3 - len(left))
    assert (row.state == "assembling") == (not left)


def test_the_database_refuses_a_state_that_is_none(ledger: Ledger, engine: Engine) -> None:
    transfer = ledger.transfer(parts=1)
    for query in (
        "UPDATE argosy.transfers SET state = 'lost' WHERE id = :id",
        "UPDATE argosy.chunks SET state = 'lost' WHERE transfer_id = :id",
    ):
        with (
            pytest.raises(Exception, match="violates check constraint") as caught,
            engine.begin() as connection,
        ):
            connection.execute(text(query), {"id": transfer})
        assert isinstance(caught.value.__cause__, psycopg.errors.CheckViolation)
