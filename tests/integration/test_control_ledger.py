"""Cancelling, pausing and explaining transfers, on the rows of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from argosy.errors import InvalidState, StorageUnavailable, TransferCancelled
from models import DIGEST, ENDED, Agent, Chunk, Event, State, Transfer, control
from models.chunk_claims import release_chunk, renew_chunk
from models.control import Resumed
from models.due_chunks import due_chunks
from models.history import newest
from models.lane import Lane
from models.ledger import lay_out
from models.status import explain, explain_all
from models.transitions import advance, claim, clean_again, recorded_error, release
from models.waits import before
from models.window import open_window
from tests.integration.test_ledger import Ledger, engine, storing, taking

__all__ = ["engine"]  # a fixture of theirs

WINDOW = 3
GOING = frozenset(State) - ENDED


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM argosy.transfers"))
    return Ledger(engine)


def locked(session: Session, transfer_id: UUID) -> Transfer:
    return session.get_one(Transfer, transfer_id, with_for_update=True, populate_existing=True)


def cancelling(transfer_id: UUID) -> Callable[[Session], bool]:
    return lambda session: control.cancel(session, locked(session, transfer_id), "a")


def pausing(transfer_id: UUID) -> Callable[[Session], bool]:
    return lambda session: control.pause(session, locked(session, transfer_id), "a")


def unpausing(transfer_id: UUID) -> Callable[[Session], Resumed]:
    return lambda session: control.unpause(
        session, locked(session, transfer_id), "a", window=WINDOW, republish_seconds=1000
    )


def status(ledger: Ledger, transfer_id: UUID) -> dict[str, Any]:
    return ledger.do(
        lambda session: explain(session, session.get_one(Transfer, transfer_id), window=WINDOW)
    )


def moving(ledger: Ledger, parts: int = 5, *, digest: bool = False) -> UUID:
    """A transfer with a window of its parts in the queue, as planning leaves it."""
    transfer = ledger.transfer(size=parts * 10, part_size=10, part_count=parts)

    def work(session: Session) -> None:
        lay_out(session, transfer, parts * 10, 10, digest=digest)
        session.get_one(Transfer, transfer).chunks_left = parts + digest
        open_window(session, transfer, WINDOW + digest, 1000)

    ledger.do(work)
    return transfer


def states(ledger: Ledger, transfer_id: UUID) -> list[str]:
    query = text("SELECT state FROM argosy.chunks WHERE transfer_id = :id ORDER BY number")
    rows = ledger.do(lambda session: session.execute(query, {"id": transfer_id}).all())
    return [row.state for row in rows]


def put_back(ledger: Ledger, chunk: Chunk, retry_in: float = 0) -> None:
    error = StorageUnavailable("It is away.")
    ledger.do(
        lambda session: release_chunk(session, chunk, error, retry_in=retry_in, blameless=True)
    )


# Cancelling


@pytest.mark.parametrize("state", sorted(GOING))
def test_whatever_goes_on_can_be_cancelled(ledger: Ledger, state: State) -> None:
    transfer = ledger.transfer(state)
    assert ledger.do(cancelling(transfer)) is True
    row = ledger.row(transfer)
    assert row.state == "cancelled"
    assert row.ended_at
    error = recorded_error(row)
    assert type(error) is TransferCancelled
    assert "Agent a has cancelled" in error.message
    [event] = ledger.do(lambda session: session.query(Event).filter_by(transfer_id=transfer).all())
    assert (event.name, event.from_state, event.outcome) == ("transfer.cancelled", state, "ok")
    assert event.detail == {"kind": "upload", "by": "a"}


@pytest.mark.parametrize("state", sorted(ENDED))
def test_what_has_ended_is_not_cancelled(ledger: Ledger, state: State) -> None:
    transfer = ledger.transfer(state)
    if state == State.CANCELLED:
        assert ledger.do(cancelling(transfer)) is False
    else:
        with pytest.raises(InvalidState, match=f"is {state}: there is nothing left to cancel"):
            ledger.do(cancelling(transfer))
    assert ledger.row(transfer).state == state
    assert ledger.events(transfer) == []


def _outcome(work: Callable[[Session], Any]) -> Callable[[Session], Any]:
    def tried(session: Session) -> Any:
        try:
            return work(session)
        except InvalidState as error:
            return error

    return tried


def test_of_a_cancellation_and_the_completion_one_wins(ledger: Ledger) -> None:
    for _ in range(20):
        transfer = ledger.transfer(State.ASSEMBLING)
        row = ledger.row(transfer)
        done, cancelled = ledger.at_once(
            lambda session, row=row: advance(session, row, State.COMPLETED, epoch=row.epoch),
            _outcome(cancelling(transfer)),
        )
        state = ledger.row(transfer).state
        assert (done is not None) == (state == "completed")
        assert (cancelled is True) == (state == "cancelled")
        assert ledger.events(transfer) == [f"transfer.{state}"]


def test_of_many_cancellations_one_wins(ledger: Ledger) -> None:
    transfer = moving(ledger)
    assert sorted(ledger.at_once(*[cancelling(transfer)] * 6)) == [False] * 5 + [True]
    assert ledger.events(transfer) == ["transfer.cancelled"]


def test_a_worker_loses_its_chunk_with_the_transfer(ledger: Ledger) -> None:
    transfer = moving(ledger)
    held = ledger.hold(transfer)
    ledger.do(cancelling(transfer))
    assert not ledger.do(lambda session: renew_chunk(session, held, 100))
    assert not ledger.store(held).won
    assert ledger.row(transfer).bytes_done == 0
    assert ledger.claim(transfer, 2) is None


def test_the_lease_of_a_stage_outlives_its_cancellation(ledger: Ledger) -> None:
    """So long the bytes of who held it may arrive: until it lets go, or is taken for gone."""
    transfer = ledger.transfer(State.ASSEMBLING)
    stage = frozenset({State.ASSEMBLING})
    ledger.do(lambda session: claim(session, transfer, stage, lease_seconds=100, worker="w"))
    ledger.do(cancelling(transfer))
    assert ledger.row(transfer).lease_until
    assert ledger.do(lambda session: clean_again(session, transfer))
    assert ledger.row(transfer).lease_until is None


@pytest.mark.parametrize("state", State)
def test_only_what_is_to_be_cleaned_is_cleaned_again(ledger: Ledger, state: State) -> None:
    transfer = ledger.transfer(state, cleaned_at=text("now()"))
    is_so = state in (State.FAILED, State.CANCELLED)
    assert ledger.do(lambda session: clean_again(session, transfer)) == is_so
    assert (ledger.row(transfer).cleaned_at is None) == is_so


# Pausing


def test_a_paused_transfer_keeps_what_is_stored_and_begins_nothing(ledger: Ledger) -> None:
    transfer = moving(ledger)
    first, second = ledger.hold(transfer, 1), ledger.hold(transfer, 2)
    ledger.store(first)
    assert ledger.do(pausing(transfer)) is True
    assert states(ledger, transfer) == ["stored", "moving", "waiting", "waiting", "waiting"]
    for number in (2, 3, 4):
        assert ledger.claim(transfer, number) is None
        assert ledger.claim(transfer, number, takeover=True) is None
    ledger.pass_time(5000, transfer)
    assert not ledger.do(lambda session: due_chunks(session, limit=9, republish_seconds=1))
    assert ledger.do(lambda session: renew_chunk(session, second, 100))
    stored = ledger.store(second)
    assert (stored.won, stored.next_number, stored.bytes_done) == (True, None, 20)
    assert states(ledger, transfer) == ["stored", "stored", "waiting", "waiting", "waiting"]


def test_it_goes_on_with_a_full_window(ledger: Ledger) -> None:
    transfer = moving(ledger, 8, digest=True)
    ledger.store(ledger.hold(transfer, 1))
    in_flight, failing = ledger.hold(transfer, 2), ledger.hold(transfer, 3)
    ledger.do(pausing(transfer))
    put_back(ledger, failing)
    resumed = ledger.do(unpausing(transfer))
    assert resumed == Resumed(numbers=resumed.numbers, lane=Lane("normal", "/p"))
    assert sorted(resumed.numbers) == [DIGEST, 3, 4]  # and chunk 2 is being moved: three
    assert ledger.store(in_flight).next_number == 5
    assert ledger.row(transfer).state == "moving"


def test_what_a_dead_worker_held_goes_on_at_once(ledger: Ledger) -> None:
    transfer = moving(ledger)
    ledger.hold(transfer, 1)
    ledger.do(pausing(transfer))
    ledger.pass_time(1000, transfer)
    assert sorted(ledger.do(unpausing(transfer)).numbers) == [1, 2, 3]


def test_the_last_chunk_arrives_in_the_pause(ledger: Ledger) -> None:
    transfer = moving(ledger, 1)
    held = ledger.hold(transfer)
    ledger.do(pausing(transfer))
    stored = ledger.store(held)
    assert (stored.won, stored.assembling) == (True, False)
    assert ledger.row(transfer).state == "paused"
    assert ledger.do(unpausing(transfer)) == Resumed(assembling=True)
    assert ledger.row(transfer).state == "assembling"
    assert ledger.events(transfer) == [
        "transfer.paused",
        "transfer.moving",
        "transfer.assembling",
    ]


def test_the_last_chunk_arrives_as_it_goes_on(ledger: Ledger) -> None:
    for _ in range(20):
        transfer = moving(ledger, 1)
        held = ledger.hold(transfer)
        ledger.do(pausing(transfer))
        stored, resumed = ledger.at_once(storing(held), unpausing(transfer))
        assert stored.won
        assert sorted([stored.assembling, resumed.assembling]) == [False, True]
        assert ledger.row(transfer).state == "assembling"


def test_the_last_chunk_arrives_as_it_is_paused(ledger: Ledger) -> None:
    for _ in range(20):
        transfer = moving(ledger, 1)
        held = ledger.hold(transfer)
        stored, paused = ledger.at_once(storing(held), _outcome(pausing(transfer)))
        assert stored.won
        if stored.assembling:
            assert isinstance(paused, InvalidState)
            assert "being put together" in paused.message
        else:
            assert paused is True
            assert ledger.do(unpausing(transfer)).assembling


def test_pausing_beside_claims_and_stores_locks_nothing_up(ledger: Ledger) -> None:
    for _ in range(10):
        transfer = moving(ledger, 8)
        held = [ledger.hold(transfer, number) for number in (1, 2)]
        ledger.at_once(
            pausing(transfer), *map(storing, held), taking(transfer, 3), unpausing(transfer)
        )
        ledger.do(unpausing(transfer))
        assert ledger.row(transfer).bytes_done == 20


def test_one_that_was_not_planned_is_planned_when_it_goes_on(ledger: Ledger) -> None:
    transfer = ledger.transfer(State.QUEUED)
    ledger.do(lambda session: session.execute(text("UPDATE argosy.transfers SET chunks_left=NULL")))
    assert ledger.do(pausing(transfer)) is True
    assert ledger.do(unpausing(transfer)) == Resumed(planning=True)
    assert ledger.row(transfer).state == "queued"


def test_what_is_paused_may_be_paused_and_what_goes_on_may_go_on(ledger: Ledger) -> None:
    transfer = moving(ledger)
    assert ledger.do(unpausing(transfer)) == Resumed()
    ledger.do(pausing(transfer))
    assert ledger.do(pausing(transfer)) is False
    assert ledger.events(transfer) == ["transfer.paused"]


@pytest.mark.parametrize("state", [*sorted(ENDED), State.ASSEMBLING])
def test_what_is_past_it_is_not_paused(ledger: Ledger, state: State) -> None:
    transfer = ledger.transfer(state)
    with pytest.raises(InvalidState, match="n "):
        ledger.do(pausing(transfer))
    if state in ENDED:
        with pytest.raises(InvalidState, match="it cannot go on"):
            ledger.do(unpausing(transfer))
    assert ledger.row(transfer).state == state


def test_a_pause_is_not_taken_off_the_time_of_the_file(ledger: Ledger) -> None:
    transfer = moving(ledger)
    day = "UPDATE argosy.transfers SET expires_at = '2030-01-02 00:00:00+00'"
    ledger.do(lambda session: session.execute(text(day)))
    ledger.do(pausing(transfer))
    ledger.do(lambda session: session.execute(text("SELECT pg_sleep(0.2)")))
    ledger.do(unpausing(transfer))
    row = ledger.row(transfer)
    assert row.expires_at and row.expires_at.isoformat() > "2030-01-02T00:00:00.2"
    assert row.expires_at.isoformat() < "2030-01-02T00:00:05"


STEPS = st.lists(
    st.sampled_from(["claim", "store", "put back", "pause", "unpause", "time", "resume"]),
    max_size=25,
)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.integers(1, 6), STEPS)
def test_whatever_happens_every_part_counts_once_and_it_ends(
    ledger: Ledger, parts: int, steps: list[str]
) -> None:
    transfer = moving(ledger, parts)
    work = _Work(ledger, transfer, parts)
    for step in steps:
        work.do(step)
        work.check()
    work.drain()


class _Work:
    """A fleet of one worker, and the messages that it was sent."""

    def __init__(self, ledger: Ledger, transfer: UUID, parts: int) -> None:
        self.ledger, self.transfer, self.parts = ledger, transfer, parts
        self.messages = list(range(1, min(WINDOW, parts) + 1))
        self.held: list[Chunk] = []
        self.assemblies = 0

    def do(self, step: str) -> None:
        getattr(self, step.replace(" ", "_"))()

    def claim(self) -> None:
        paused = self.state == "paused"
        if self.messages and (chunk := self.ledger.claim(self.transfer, self.messages.pop(0))):
            assert not paused
            self.held.append(chunk)

    def store(self) -> None:
        if self.held:
            stored = self.ledger.store(self.held.pop(0))
            self.assemblies += stored.assembling
            if stored.next_number:
                self.messages.append(stored.next_number)

    def put_back(self) -> None:
        if self.held:
            put_back(self.ledger, self.held.pop())

    def pause(self) -> None:
        self.ledger.do(_outcome(pausing(self.transfer)))

    def unpause(self) -> None:
        resumed = self.ledger.do(unpausing(self.transfer))
        self.messages += resumed.numbers
        self.assemblies += resumed.assembling

    def time(self) -> None:
        self.ledger.pass_time(150, self.transfer)

    def resume(self) -> None:
        again = self.ledger.do(
            lambda session: due_chunks(session, limit=100, republish_seconds=1000)
        )
        self.messages += [number for *_, number in again]

    @property
    def state(self) -> str:
        return self.ledger.row(self.transfer).state

    def check(self) -> None:
        row, now = self.ledger.row(self.transfer), states(self.ledger, self.transfer)
        stored = now.count("stored")
        assert (row.bytes_done, row.chunks_left) == (stored * 10, self.parts - stored)
        assert now.count("queued") + now.count("moving") <= WINDOW
        assert self.assemblies == (row.state == "assembling")

    def drain(self) -> None:
        """Nobody pauses any more: it ends."""
        self.unpause()
        for _ in range(self.parts + 1):
            while self.messages or self.held:
                self.claim()
                self.store()
            self.time()
            self.time()
            self.resume()
        assert self.state == "assembling"
        self.check()


# The status document


def test_the_document_of_a_moving_transfer(ledger: Ledger) -> None:
    transfer = moving(ledger, 5)
    ledger.do(
        lambda session: session.execute(
            text("UPDATE argosy.transfers SET started_at = now() - interval '10 seconds'")
        )
    )
    ledger.store(ledger.hold(transfer, 1))
    ledger.hold(transfer, 2, worker="w@host/7")
    put_back(ledger, ledger.hold(transfer, 3), retry_in=3)
    told = status(ledger, transfer)
    assert told["parts"] == {"stored": 1, "moving": 1, "queued": 2, "waiting": 1, "total": 5}
    assert (told["bytes_done"], told["size"], told["attempts"]) == (10, 50, 1)
    assert 0.3 < told["rate"] < 1.1  # by the database's clock, which goes on meanwhile
    assert told["eta_seconds"] == pytest.approx(40 / told["rate"], abs=0.1)
    window, held, retry = told["waits"]
    assert window == "window: 2 of 3 chunk messages are in the queue, 1 wait for their turn"
    assert held.startswith("chunk 2 is held by w@host/7 until ")
    assert held.endswith(" UTC")
    assert retry.startswith("next attempt of chunk 3 at ")
    assert retry.endswith(" UTC after storage_unavailable: It is away.")


def test_a_lost_lease_is_told(ledger: Ledger) -> None:
    transfer = moving(ledger, 1)
    ledger.hold(transfer)
    ledger.pass_time(200, transfer)
    [told] = status(ledger, transfer)["waits"]
    assert told.startswith("chunk 1 was held by w until ")
    assert told.endswith(": it is sent again")


def test_the_checksums_are_told_apart(ledger: Ledger) -> None:
    transfer = moving(ledger, 1, digest=True)
    ledger.hold(transfer, DIGEST)
    told = status(ledger, transfer)
    assert told["parts"]["total"] == 1
    assert told["waits"][1].startswith("the pass for the checksums is held by w until ")


def test_a_wide_window_is_not_told_chunk_by_chunk(ledger: Ledger) -> None:
    transfer = ledger.transfer(parts=30)
    for number in range(1, 31):
        ledger.hold(transfer, number)
    told = status(ledger, transfer)["waits"]
    assert len(told) == 21
    assert told[-1] == "other chunks are held or wait for their next attempt too"


def test_who_paused_is_told(ledger: Ledger) -> None:
    transfer = moving(ledger)
    ledger.do(pausing(transfer))
    [told] = status(ledger, transfer)["waits"]
    assert told.startswith("paused by a since ")
    assert status(ledger, transfer)["rate"] is None


def test_the_place_in_the_queue_is_told(ledger: Ledger) -> None:
    queue = [ledger.transfer(State.QUEUED) for _ in range(3)]
    ledger.transfer(State.COMPLETED)
    places = [status(ledger, one)["waits"][0] for one in queue]
    assert places == [
        "it waits for its turn: 0 of its agent's transfers are before it",
        "it waits for its turn: 1 of its agent's transfers is before it",
        "it waits for its turn: 2 of its agent's transfers are before it",
    ]


def test_the_stage_and_its_next_attempt_are_told(ledger: Ledger) -> None:
    for state, verb in ((State.QUEUED, "planned"), (State.ASSEMBLING, "assembled")):
        transfer = ledger.transfer(state, admitted_at=datetime.now(UTC))
        assert "its message is sent again at" in status(ledger, transfer)["waits"][1]
        stage = frozenset({state})
        held = ledger.do(
            lambda session, it=transfer, stage=stage: claim(
                session, it, stage, lease_seconds=100, worker="w"
            )
        )
        assert held
        [told] = status(ledger, transfer)["waits"]
        assert told.startswith(f"being {verb} by w until ")
        error = StorageUnavailable("It is away.")
        ledger.do(
            lambda session, held=held, error=error: release(
                session, held, error, retry_in=5, blameless=True
            )
        )
        told = status(ledger, transfer)["waits"][1]
        assert told.startswith("next attempt at ")
        assert told.endswith(" after storage_unavailable: It is away.")


def test_the_document_of_an_ended_transfer(ledger: Ledger) -> None:
    completed = ledger.transfer(State.COMPLETED, size=10, part_count=7)
    told = status(ledger, completed)
    assert told["parts"] == {"stored": 7, "moving": 0, "queued": 0, "waiting": 0, "total": 7}
    assert (told["waits"], told["error"], told["eta_seconds"]) == ([], None, None)
    transfer = moving(ledger)
    ledger.do(cancelling(transfer))
    told = status(ledger, transfer)
    assert told["error"] == {
        "code": "transfer_cancelled",
        "message": "Agent a has cancelled the transfer of n.",
    }
    assert told["waits"] == ["what it left behind is still to be removed"]


# What it costs


def _many(ledger: Ledger, count: int) -> None:
    """As many ended transfers, of a hundred agents."""
    agents = [uuid4() for _ in range(100)]

    def work(session: Session) -> None:
        session.add_all(Agent(id=one, name=one.hex) for one in agents)
        session.flush()
        session.execute(
            text(
                "INSERT INTO argosy.transfers (id, kind, state, agent_id, request_sha256, bucket,"
                " object_name, name, content_type, path, created_at) SELECT gen_random_uuid(),"
                " 'upload', 'completed', (:agents)[1 + n % 100], '0', 'b', 'o', 'n', 't', '/p',"
                " now() - n * interval '1 second' FROM generate_series(1, :count) n"
            ),
            {"agents": agents, "count": count},
        )

    ledger.do(work)
    ledger.do(lambda session: session.execute(text("ANALYZE argosy.transfers")))


def _plan(session: Session, query: Any) -> str:
    compiled = query.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
    return "\n".join(row[0] for row in session.execute(text(f"EXPLAIN ANALYZE {compiled}")))


def test_the_place_in_the_queue_is_found_by_an_index(ledger: Ledger) -> None:
    _many(ledger, 20_000)
    wait = "UPDATE argosy.transfers SET state = 'queued', turn_at = created_at RETURNING agent_id"
    busy = ledger.do(lambda session: session.scalars(text(wait)).first())
    ledger.do(lambda session: session.execute(text("ANALYZE argosy.transfers")))
    transfer = ledger.row(ledger.transfer(State.QUEUED, agent_id=busy))
    plan = ledger.do(lambda session: _plan(session, before(transfer)))
    assert "Index" in plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize("everybody", [False, True])
def test_a_page_of_history_is_found_by_an_index(ledger: Ledger, everybody: bool) -> None:
    _many(ledger, 20_000)
    some = ledger.do(lambda session: session.query(Transfer).limit(1).one())
    read: list[str] = []

    def work(session: Session) -> list[UUID]:
        whose = None if everybody else some.agent_id
        before_it = "SELECT idx_tup_fetch + seq_tup_read FROM pg_stat_xact_user_tables "
        before_it += "WHERE relid = 'argosy.transfers'::regclass"
        start = session.scalar(text(before_it)) or 0
        page = newest(session, agent_id=whose, before=None, limit=10)
        end = session.scalar(text(before_it)) or 0
        read.append(str(end - start))
        return [one.id for one in page]

    assert len(ledger.do(work)) == 10
    assert int(read[0]) <= (100 + 10) * 11  # ten of each agent at most, not twenty thousand


def test_pages_of_history_join_without_a_gap(ledger: Ledger) -> None:
    _many(ledger, 300)

    def all_of_them(session: Session) -> list[Transfer]:
        seen: list[Transfer] = []
        last = None
        while page := newest(session, agent_id=None, before=last, limit=70):
            seen += page
            last = page[-1]
        return seen

    seen = ledger.do(all_of_them)
    assert len(seen) == len({one.id for one in seen}) == 300
    assert seen == sorted(seen, key=lambda one: (one.created_at, one.id), reverse=True)
    documents = ledger.do(lambda session: explain_all(session, seen, window=WINDOW))
    assert [one["id"] for one in documents] == [str(one.id) for one in seen]
