"""The state machine, as data."""

from __future__ import annotations

from itertools import pairwise

import pytest

from models.chunk import ChunkState
from models.transfer import ENDED, TRANSITIONS, State


def reachable(start: State) -> set[State]:
    found, edge = {start}, {start}
    while edge:
        edge = {to for state in edge for to in TRANSITIONS[state]} - found
        found |= edge
    return found


def test_every_state_is_in_it() -> None:
    assert set(TRANSITIONS) == set(State)
    assert {to for targets in TRANSITIONS.values() for to in targets} <= set(State)


def test_every_state_can_be_reached_from_the_first() -> None:
    assert reachable(State.QUEUED) == set(State)


def test_the_life_of_an_upload_is_in_it() -> None:
    life = [State.QUEUED, State.PLANNED, State.MOVING, State.ASSEMBLING, State.COMPLETED]
    for before, after in pairwise(life):
        assert after in TRANSITIONS[before]


def test_nothing_skips_a_stage() -> None:
    assert State.COMPLETED not in TRANSITIONS[State.MOVING]
    assert State.ASSEMBLING not in TRANSITIONS[State.PLANNED]
    assert State.MOVING not in TRANSITIONS[State.QUEUED]


@pytest.mark.parametrize("state", sorted(set(State) - ENDED))
def test_whatever_has_not_ended_can_fail_and_be_cancelled(state: State) -> None:
    assert {State.FAILED, State.CANCELLED} <= TRANSITIONS[state]


@pytest.mark.parametrize("state", sorted(ENDED))
def test_what_has_ended_moves_no_more(state: State) -> None:
    assert reachable(state) <= ENDED
    assert State.COMPLETED not in TRANSITIONS[state]


def test_from_everywhere_there_is_an_end() -> None:
    assert all(reachable(state) & ENDED for state in State)


def test_no_state_leads_to_itself() -> None:
    assert all(state not in targets for state, targets in TRANSITIONS.items())


def test_the_machine_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.COMPLETED] = frozenset({State.QUEUED})  # type: ignore[index]


def test_states_are_their_names() -> None:
    assert all(str(state) == state.name.lower() for state in (*State, *ChunkState))
