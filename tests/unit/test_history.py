"""The history checker: legal histories pass, and each kind of illegal one is told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from models.transfer import ENDED, TRANSITIONS, State
from tests.faults.history import EventRow, disagreements, violations

ONE, OTHER = uuid4(), uuid4()


class History:
    """Events, written down one after the other."""

    def __init__(self, transfer: UUID = ONE) -> None:
        self.transfer = transfer
        self.events: list[EventRow] = []

    def add(self, name: str, **columns: Any) -> History:
        defaults: dict[str, Any] = {
            "transfer_id": self.transfer,
            "from_state": None,
            "to_state": None,
            "epoch": None,
            "at": datetime(2026, 1, 1, tzinfo=UTC),
            "outcome": "ok",
            "reason": None,
            "detail": None,
        }
        row = EventRow(id=len(self.events) + 1, name=name, **{**defaults, **columns})
        self.events.append(row)
        return self

    def queued(self) -> History:
        return self.add("transfer.queued", to_state="queued")

    def to(self, *states: str, epoch: int = 1, **columns: Any) -> History:
        for state in states:
            before = next(event.to_state for event in reversed(self.events) if event.to_state)
            facts: dict[str, Any] = {"from_state": before, "to_state": state, "epoch": epoch}
            if state == "failed":
                facts |= {"outcome": "failed", "reason": "disk_full"}
            if state == "cancelled":
                facts |= {"reason": "transfer_cancelled"}
            self.add(f"transfer.{state}", **{**facts, **columns})
        return self

    def put_back(self, epoch: int = 1) -> History:
        return self.add("transfer.put_back", epoch=epoch)

    def chunk_back(self, number: int = 1, epoch: int = 1) -> History:
        return self.add("chunk.put_back", epoch=epoch, detail={"number": number})

    def cleaned(self) -> History:
        return self.add("transfer.cleaned")


def moving() -> History:
    return History().queued().to("planned", "moving")


def assembling() -> History:
    return moving().to("assembling")


def completed() -> History:
    return assembling().to("completed", epoch=2)


def failed() -> History:
    return moving().to("failed")


LEGAL = {
    "nothing": History(),
    "queued": History().queued(),
    "completed": completed(),
    "expired": completed().to("expired", epoch=2),
    "registered": History().add("transfer.registered", to_state="completed"),
    "registered and expired": (
        History().add("transfer.registered", to_state="completed").to("expired", epoch=0)
    ),
    "planned again": History().queued().put_back(1).put_back(2).to("planned", "moving", epoch=3),
    "paused before it was planned": History().queued().to("paused", "queued", "planned"),
    "paused as it moved": moving().to("paused", "moving", "assembling", "completed"),
    "the last chunk arrived in the pause": moving().to("paused", "moving", "assembling"),
    "chunks put back": moving().chunk_back(1, 1).chunk_back(2, 1).chunk_back(1, 2),
    "a chunk put back in the pause": moving().to("paused").chunk_back(),
    "a chunk put back after the end": failed().chunk_back().cleaned(),
    "the checksums put back": moving().chunk_back(0, 3),
    "assembled again": assembling().put_back(2).to("completed", epoch=3),
    "cancelled": moving().to("cancelled").cleaned(),
    "cleaned again": failed().cleaned().cleaned(),
    "refused": History().queued().to("failed", outcome="refused", reason="access_denied"),
    "other events": completed().add("derivative.made", epoch=0).add("file.processed"),
}


@pytest.mark.parametrize("name", LEGAL)
def test_legal(name: str) -> None:
    assert violations(LEGAL[name].events) == []


ILLEGAL = {
    "begins it again": moving().queued(),
    "begins it as planned, not as queued": History().add("transfer.queued", to_state="planned"),
    "comes before its beginning": History().add("transfer.put_back", epoch=1),
    "comes before": History().add("transfer.queued", from_state="paused", to_state="queued"),
    "says that it was queued, but it was moving": (
        moving().add("transfer.planned", from_state="queued", to_state="planned", epoch=1)
    ),
    "the machine has no such step": History().queued().to("moving"),
    "is not named after where it leads": (
        History().queued().add("transfer.moving", from_state="queued", to_state="planned", epoch=1)
    ),
    "leads to lost, which is no state": moving().to("lost"),
    "has no epoch": moving().to("assembling", epoch=None),  # type: ignore[arg-type]
    "has epoch 1 after epoch 2": History().queued().put_back(2).to("planned", epoch=1),
    "has put back before": History().queued().put_back(1).put_back(1),
    "ends it for the 2. time": failed().to("failed"),
    "completes it for the 2. time": completed().to("completed", epoch=2),
    "may not happen while it is completed": completed().cleaned(),
    "may not happen while it is moving": moving().put_back(1),
    "may not happen while it is failed": failed().put_back(1),
    "may not happen while it is assembling": assembling().chunk_back(),
    "may not happen once it is cleaned": failed().cleaned().chunk_back(),
    "puts chunk 1 back under epoch 1 after epoch 1": moving().chunk_back(1, 1).chunk_back(1, 1),
    "does not say which chunk": moving().add("chunk.put_back", epoch=1),
    "fails it with outcome failed and reason None": moving().to("failed", reason=None),
    "fails it with outcome ok": moving().to("failed", outcome="ok"),
    "cancels it without a reason": moving().to("cancelled", reason=None),
    "leads to completed with outcome failed": assembling().to("completed", outcome="failed"),
    "leads to completed with reason disk_full": assembling().to("completed", reason="disk_full"),
}


@pytest.mark.parametrize("what", ILLEGAL)
def test_illegal(what: str) -> None:
    history = ILLEGAL[what]
    told = violations(history.events)
    last = history.events[-1]
    assert any(what in sentence for sentence in told), told
    assert all(f"transfer {ONE}: event {last.id} ({last.name}, " in one for one in told)


def steps_that_are_none() -> Iterator[tuple[State, State]]:
    for before in State:
        yield from ((before, after) for after in State if after not in TRANSITIONS[before])


@pytest.mark.parametrize(("before", "after"), [*steps_that_are_none()])
def test_every_step_that_the_machine_has_not_is_told(before: State, after: State) -> None:
    history = History()
    for state in path_to(before):
        history = history.queued() if not history.events else history.to(state)
    assert violations(history.events) == []
    assert violations(history.to(after).events)


def path_to(state: State) -> list[State]:
    """Some way from the first state to this one."""
    ways = [[State.QUEUED]]
    while ways[0][-1] != state:
        way = ways.pop(0)
        ways += [[*way, after] for after in sorted(TRANSITIONS[way[-1]]) if after not in way]
    return ways[0]


@pytest.mark.parametrize("end", sorted(ENDED - {State.EXPIRED}))
def test_what_ended_begins_no_more(end: State) -> None:
    history = History()
    for state in path_to(end):
        history = history.queued() if not history.events else history.to(state)
    assert any("begins it again" in one for one in violations(history.queued().events))


def test_transfers_do_not_mix() -> None:
    first, second = completed(), History(OTHER).queued().to("planned")
    mixed = [event for pair in zip(first.events, second.events, strict=False) for event in pair]
    assert violations([*mixed, *first.events[2:]]) == []
    wrong = History(OTHER).queued().to("completed").events
    assert all(str(OTHER) in one for one in violations([*first.events, *wrong]))


def test_what_is_about_no_transfer_is_passed_over() -> None:
    lonely = History().add("transfer.completed", transfer_id=None, to_state="completed")
    assert violations(lonely.events) == []


def test_the_rows_are_what_the_history_comes_to() -> None:
    events = [*completed().events, *History(OTHER).queued().events]
    assert disagreements(events, {ONE: "completed", OTHER: "queued"}) == []
    [ahead] = disagreements(events, {ONE: "completed", OTHER: "planned"})
    assert ahead == f"transfer {OTHER}: its row is planned, but its history ends with queued."
    [gone] = disagreements(events, {ONE: "completed"})
    assert "its row is gone" in gone
    [new] = disagreements([], {ONE: "queued"})
    assert "it has no history" in new
