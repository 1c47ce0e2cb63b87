"""Claims of processes that have ended are given back, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import ChunkState, Derivative, Event, State
from models.derivatives import claim_derivatives, enter
from models.due_chunks import due_chunks
from models.handing_back import LEFT, hand_back
from models.transitions import claim
from tests.integration.test_ledger import Ledger, engine, ledger

__all__ = ["engine", "ledger"]

GONE, OTHER = "one@host/1", "one@host/11"


def _give_back(ledger: Ledger) -> int:
    return ledger.do(lambda session: hand_back(session, [GONE, "one@host/2"]))


def test_a_chunk(ledger: Ledger) -> None:
    made = ledger.transfer(parts=2)
    ledger.hold(made, 1, worker=GONE)
    ledger.hold(made, 2, worker=OTHER)
    assert _give_back(ledger) == 1
    freed, held = ledger.chunk(made, 1), ledger.chunk(made, 2)
    assert (freed.state, freed.lease_until, freed.attempts) == (ChunkState.QUEUED, None, 0)
    assert freed.last_error == LEFT
    assert (held.state, held.attempts) == (ChunkState.MOVING, 1)
    due = ledger.do(lambda session: due_chunks(session, limit=1000, republish_seconds=60))
    assert [number for transfer_id, _, number in due if transfer_id == made] == [1]
    assert _give_back(ledger) == 0


def test_a_chunk_that_it_has_stored(ledger: Ledger) -> None:
    made = ledger.transfer(parts=2)
    claimed = ledger.hold(made, 1, worker=GONE)
    assert ledger.store(claimed).won
    assert _give_back(ledger) == 0
    assert ledger.chunk(made, 1).state == ChunkState.STORED


def _claimed(state: State, worker: str) -> Callable[[Session, Any], Any]:
    def work(session: Session, transfer_id: Any) -> Any:
        states = frozenset({state})
        return claim(session, transfer_id, states, lease_seconds=600, worker=worker)

    return work


@pytest.mark.parametrize("state", [State.QUEUED, State.ASSEMBLING, State.FAILED])
def test_a_stage(ledger: Ledger, state: State) -> None:
    """Also the stage of a transfer that failed: its clean-up."""
    made, others = ledger.transfer(state), ledger.transfer(state)
    assert ledger.do(lambda session: _claimed(state, GONE)(session, made))
    assert ledger.do(lambda session: _claimed(state, OTHER)(session, others))
    assert _give_back(ledger) == 1
    freed, held = ledger.row(made), ledger.row(others)
    assert (freed.state, freed.lease_until, freed.attempts) == (state, None, 0)
    assert held.lease_until is not None
    events = ledger.do(
        lambda session: session.scalars(select(Event).where(Event.transfer_id == made)).all()
    )
    assert [(one.name, one.worker, one.epoch) for one in events] == [
        ("transfer.put_back", GONE, freed.epoch)
    ]
    assert ledger.do(lambda session: _claimed(state, OTHER)(session, made)), "it is free"


def test_a_derivative(ledger: Ledger) -> None:
    made = ledger.transfer(State.COMPLETED)
    keys = [("thumbnail", "{}"), ("inspect", "{}")]
    rows = ledger.do(lambda session: enter(session, made, ledger.agent, keys))
    for row, worker in zip(rows, (GONE, OTHER), strict=True):
        facts = {"agent_id": ledger.agent, "task_id": made, "lease_seconds": 600}
        assert ledger.do(
            lambda session, row=row, worker=worker, facts=facts: claim_derivatives(  # type: ignore[misc]
                session, [row], worker=worker, **facts
            )
        )
    assert _give_back(ledger) == 1
    found = {
        row.id: row
        for row in ledger.do(
            lambda session: session.scalars(
                select(Derivative).where(Derivative.transfer_id == made)
            ).all()
        )
    }
    freed, held = (found[row.id] for row in rows)
    assert (freed.state, freed.lease_until, freed.attempts, freed.reason) == ("due", None, 0, LEFT)
    assert held.lease_until is not None
