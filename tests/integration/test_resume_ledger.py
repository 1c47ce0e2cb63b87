"""What `transfer.resume` finds to be due, on the rows of a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from argosy.errors import StorageUnavailable
from models import DIGEST, Chunk, ChunkState, State
from models.chunk_claims import release_chunk
from models.continuations import (
    MOST_PUBLICATIONS,
    add,
    due_assemblies,
    due_cleanups,
    due_continuations,
    due_plans,
)
from models.due_chunks import due_chunks, due_windows
from models.ledger import lay_out
from models.window import open_window
from tests.integration.test_ledger import Ledger, engine, storing

__all__ = ["engine"]  # a fixture of theirs

WINDOW = 3
AGAIN = 1000.0
Numbers = Sequence[tuple[UUID, int]]


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM argosy.transfers"))
    return Ledger(engine)


def filling(session: Session, own: int = WINDOW) -> Numbers:
    found = due_windows(
        session, window=WINDOW, window_of=lambda *_: own, limit=100, republish_seconds=AGAIN
    )
    return [(transfer_id, number) for transfer_id, _, number in found]


def again(session: Session) -> Numbers:
    found = due_chunks(session, limit=100, republish_seconds=AGAIN)
    return [(transfer_id, number) for transfer_id, _, number in found]


def planned(
    ledger: Ledger,
    parts: int,
    opened: int = 0,
    *,
    digest: bool = False,
    state: State = State.MOVING,
) -> UUID:
    """A transfer whose window was opened so far, and no further."""
    made = ledger.transfer(state)

    def work(session: Session) -> None:
        lay_out(session, made, parts * 10, 10, digest=digest)
        if opened:
            open_window(session, made, opened, AGAIN)
        count = "UPDATE argosy.transfers SET chunks_left = :n WHERE id = :id"
        session.execute(text(count), {"n": parts + digest, "id": made})

    ledger.do(work)
    return made


def states(ledger: Ledger, transfer_id: UUID) -> dict[int, str]:
    query = select(Chunk.number, Chunk.state).where(Chunk.transfer_id == transfer_id)
    return ledger.do(lambda session: dict(session.execute(query.order_by(Chunk.number)).all()))


# Windows


@pytest.mark.parametrize(("opened", "lacks"), [(0, 3), (1, 2), (2, 1), (3, 0), (7, 0)])
def test_a_window_gets_what_it_lacks(ledger: Ledger, opened: int, lacks: int) -> None:
    moving = planned(ledger, 10, opened)
    expected = [(moving, number) for number in range(opened + 1, opened + lacks + 1)]
    assert sorted(ledger.do(filling)) == expected
    assert ledger.do(filling) == []
    assert ledger.do(again) == []


def test_the_window_of_a_limited_agent_is_its_own(ledger: Ledger) -> None:
    moving = planned(ledger, 10, 1)
    assert ledger.do(lambda session: filling(session, own=1)) == []
    assert ledger.do(lambda session: filling(session, own=2)) == [(moving, 2)]


def test_what_is_held_is_in_the_window_too(ledger: Ledger) -> None:
    moving = planned(ledger, 10, 2)
    ledger.hold(moving, 1)
    assert ledger.do(filling) == [(moving, 3)]


def test_the_pass_for_the_checksums_takes_up_no_room(ledger: Ledger) -> None:
    moving = planned(ledger, 10, digest=True)
    assert sorted(ledger.do(filling)) == [(moving, number) for number in (DIGEST, 1, 2, 3)]
    ledger.hold(moving, DIGEST)
    assert ledger.do(filling) == []


def test_a_transfer_with_all_its_chunks_on_their_way(ledger: Ledger) -> None:
    for parts in (1, 2):
        planned(ledger, parts, parts)
    encoded = planned(ledger, 0, 1, digest=True)
    ledger.hold(encoded, DIGEST)
    assert ledger.do(filling) == []


@pytest.mark.parametrize("state", sorted(set(State) - {State.MOVING}))
def test_only_what_moves_has_a_window(ledger: Ledger, state: State) -> None:
    planned(ledger, 10, state=state)
    assert ledger.do(filling) == []


def test_a_bounded_number_at_once(ledger: Ledger) -> None:
    ours = {planned(ledger, 5) for _ in range(5)}
    filled: list[UUID] = []
    for _ in range(5):
        found = ledger.do(
            lambda session: due_windows(
                session, window=1, window_of=lambda *_: 1, limit=1, republish_seconds=AGAIN
            )
        )
        filled += [transfer_id for transfer_id, _, _ in found]
    assert (len(filled), set(filled)) == (5, ours)


def test_two_that_fill_and_one_that_stores_never_open_too_many(ledger: Ledger) -> None:
    for _ in range(10):
        moving = planned(ledger, 10, 1)
        held = ledger.hold(moving, 1)
        ledger.at_once(filling, filling, storing(held))  # type: ignore[arg-type]
        ledger.do(filling)
        busy = [n for n, state in states(ledger, moving).items() if state == ChunkState.QUEUED]
        assert len(busy) == WINDOW


# Messages that were lost


def test_who_dies_before_the_next_chunk_is_sent_loses_time_only(ledger: Ledger) -> None:
    moving = planned(ledger, 10, WINDOW)
    held = ledger.hold(moving, 1)
    stored = ledger.store(held)
    assert stored.next_number == WINDOW + 1
    assert ledger.do(filling) == []
    ledger.pass_time(AGAIN + 1, moving)
    assert (moving, WINDOW + 1) in ledger.do(again)


def test_a_lease_that_ended(ledger: Ledger) -> None:
    moving = planned(ledger, 2, 2)
    ledger.hold(moving, 1)
    ledger.pass_time(101, moving)
    assert ledger.do(again) == [(moving, 1)]


COLLECTORS: dict[str, Callable[[Session], Sequence[Any]]] = {
    "plans": lambda session: due_plans(session, limit=10, republish_seconds=AGAIN),
    "chunks": again,
    "assemblies": lambda session: [
        one.task_id for one in due_assemblies(session, limit=10, republish_seconds=AGAIN)
    ],
    "outcomes": lambda session: [
        one.task_id for one in due_continuations(session, limit=10, republish_seconds=AGAIN)
    ],
    "cleanups": lambda session: due_cleanups(session, limit=10, republish_seconds=AGAIN),
}
STATES = {
    "plans": State.QUEUED,
    "chunks": State.MOVING,
    "assemblies": State.ASSEMBLING,
    "outcomes": State.COMPLETED,
    "cleanups": State.FAILED,
}


@pytest.mark.parametrize("what", COLLECTORS)
def test_what_was_marked_as_sent_and_was_not_comes_again(ledger: Ledger, what: str) -> None:
    """As where the task is killed after its transaction, before or while it sends."""
    collect = COLLECTORS[what]
    one = ledger.transfer(STATES[what], parts=1, admitted_at=datetime.now(UTC))
    ledger.do(lambda session: add(session, one, one, {}, 0))
    _end(ledger, one)
    for time in range(3):
        ledger.pass_time(64 * AGAIN * 3**time, one)
        found = ledger.do(collect)
        assert found in ([one], [(one, 1)])
        assert ledger.do(collect) == []


def test_an_assembly_that_was_put_back_again_and_again_has_an_outcome_too(ledger: Ledger) -> None:
    """As while Storage was away: what was sent for it then is no try to tell how it ended."""
    one = ledger.transfer(State.ASSEMBLING)
    ledger.do(lambda session: add(session, one, one, {}, 0))
    for _ in range(MOST_PUBLICATIONS):
        ledger.pass_time(AGAIN + 1, one)
        assert ledger.do(COLLECTORS["assemblies"]) == [one]
    completed = "UPDATE argosy.transfers SET state = 'completed' WHERE id = :id"
    ledger.do(lambda session: session.execute(text(completed), {"id": one}) and None)
    _end(ledger, one)
    ledger.pass_time(AGAIN + 1, one)
    assert ledger.do(COLLECTORS["outcomes"]) == [one]


def _end(ledger: Ledger, transfer_id: UUID) -> None:
    ended = "UPDATE argosy.transfers SET ended_at = now() WHERE id = :id"
    ledger.do(lambda session: session.execute(text(ended), {"id": transfer_id}) and None)


@pytest.mark.parametrize("what", COLLECTORS)
def test_what_is_paused_is_left_alone(ledger: Ledger, what: str) -> None:
    one = ledger.transfer(State.PAUSED, parts=1)
    ledger.do(lambda session: add(session, one, one, {}, 0))
    ledger.pass_time(64 * AGAIN, one)
    assert ledger.do(COLLECTORS[what]) == []


def test_a_message_that_arrived_says_nothing_of_the_next_one(ledger: Ledger) -> None:
    """A long outage puts a chunk back many times; a message lost later is sent again soon."""
    moving = planned(ledger, 2, 2)
    error = StorageUnavailable("away")
    for _ in range(6):
        held = ledger.hold(moving, 1)

        def give_back(session: Session, chunk: Chunk = held) -> None:
            release_chunk(session, chunk, error, retry_in=1, blameless=True, tried=False)

        ledger.do(give_back)
        ledger.pass_time(2, moving)
        assert ledger.do(again) == [(moving, 1)]
    assert "chunk.put_back" not in ledger.events(moving)
    assert ledger.chunk(moving).attempts == 0
    ledger.pass_time(AGAIN + 1, moving)
    assert (moving, 1) in ledger.do(again)
