"""Is a history legal? The events of each transfer, replayed against the state machine.

Why the order of the ids is the order of what happened, although ids are given at the insert
and transactions may commit in another order:

- An event that is a change of a transfer's state, `transfer.put_back` and `transfer.cleaned`
  are recorded by a transaction that has changed the transfer's row first. It holds the row's
  lock until its commit, so between its event's id and its commit no other transaction can
  have recorded one of those about the same transfer: their ids rise as the locks were held.
  (The sequence caches no ids.) The first event is inserted by the transaction that inserts
  the row, which nobody else sees before its commit.
- `chunk.put_back` is recorded under the lock of the chunk alone. Compared with other events
  of that chunk, and with what follows only once the chunk was stored or retired (`assembling`,
  `completed`, `cleaned`: they wait for that lock), its id is in order. Compared with a pause,
  an end on somebody's word or a failure elsewhere it is not, and need not be: a put-back is
  legal on both sides of those.

So ids may be compared within one transfer. Between transfers they say nothing. `at` is a
clock's word, and clocks jump: it is shown and never compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from models.event import Outcome
from models.transfer import ENDED, TRANSITIONS, State


class EventRow(NamedTuple):
    """One row of argosy.events."""

    id: int
    name: str
    transfer_id: UUID | None
    from_state: str | None
    to_state: str | None
    epoch: int | None
    at: datetime
    outcome: str
    reason: str | None
    detail: dict[str, Any] | None


BEGINNINGS: Mapping[str, State] = MappingProxyType(
    {"transfer.queued": State.QUEUED, "transfer.registered": State.COMPLETED}
)
"""How a transfer enters the books: as work, or as a file that its agent has stored itself.

With a state before it, `transfer.queued` is the end of a pause instead.
"""
IN_A_BATCH: Mapping[str, State] = MappingProxyType(
    {"transfer.completed": State.COMPLETED, "transfer.failed": State.FAILED}
)
"""How a file of a batch enters them, with no state before: its event names the batch."""

LEGAL_IN: Mapping[str, frozenset[State]] = MappingProxyType(
    {
        "transfer.put_back": frozenset({State.QUEUED, State.ASSEMBLING}),
        "chunk.put_back": frozenset({State.MOVING, State.PAUSED, State.FAILED, State.CANCELLED}),
        "transfer.cleaned": frozenset({State.FAILED, State.CANCELLED}),
    }
)
"""What happens without a change of state, and where the transfer may be then.

A stage is put back while its claim stands: where it is planned or assembled, never after the
end. A chunk is put back under its own claim, which may outlive the transfer: a worker in the
middle of a part learns of a failure or of a cancellation with its next block, and hands the
chunk back then. It changes nothing but the chunk's row, which the clean-up retires: so it is
legal after such an end, until `transfer.cleaned`. A transfer that is assembled or completed
has no chunk that could be put back.
"""


def violations(events: Iterable[EventRow]) -> list[str]:
    """What is illegal in this history, a sentence each; `events` in the order of their ids.

    Events that are not about a transfer's movement (grants, refusals, derivatives) are passed
    over. Histories may end anywhere: what has not ended is no violation.
    """
    lives: dict[UUID, _Life] = {}
    wrong: list[str] = []
    for event in events:
        if event.transfer_id is None:
            continue
        life = lives.setdefault(event.transfer_id, _Life())
        wrong += [_sentence(event, what) for what in life.follow(event)]
    return wrong


def disagreements(events: Iterable[EventRow], states: Mapping[UUID, str]) -> list[str]:
    """Where the rows (`states` by transfer) are not what their histories come to."""
    told: dict[UUID, str] = {}
    for event in events:
        if event.transfer_id is not None and event.to_state is not None:
            told[event.transfer_id] = event.to_state
    wrong = [
        f"transfer {transfer_id}: its row is {states.get(transfer_id, 'gone')}, "
        f"but its history ends with {state}."
        for transfer_id, state in told.items()
        if states.get(transfer_id) != state
    ]
    return wrong + [
        f"transfer {transfer_id}: its row is {states[transfer_id]}, but it has no history."
        for transfer_id in states
        if transfer_id not in told
    ]


def read_events(session: Session) -> list[EventRow]:
    """Every event about a transfer, in the order of their ids."""
    columns = ", ".join(EventRow._fields)
    query = f"SELECT {columns} FROM argosy.events WHERE transfer_id IS NOT NULL ORDER BY id"
    return [EventRow(*row) for row in session.execute(text(query))]


def read_states(session: Session) -> dict[UUID, str]:
    """The state of every transfer, by its row."""
    rows = session.execute(text("SELECT id, state FROM argosy.transfers"))
    return {row.id: row.state for row in rows}


def check(session: Session) -> list[str]:
    """Everything that is wrong with the histories in this database, and with their ends.

    Both are read in one snapshot where the session's transaction has one (REPEATABLE READ), or
    nothing moves any more.
    """
    events = read_events(session)
    return [*violations(events), *disagreements(events, read_states(session))]


def _sentence(event: EventRow, what: str) -> str:
    return f"transfer {event.transfer_id}: event {event.id} ({event.name}, {event.at}) {what}."


@dataclass
class _Life:
    """One transfer, as its history says so far."""

    state: State | None = None
    cleaned: bool = False
    ends: int = 0
    completed: int = 0
    epoch: int = 0
    stage_put_back: int | None = None
    chunk_epochs: dict[int, int] = field(default_factory=dict)

    def follow(self, event: EventRow) -> Iterator[str]:
        """Take one event in; says what is wrong with it."""
        if event.from_state is None and event.name in _beginnings(event):
            yield from self._begin(event)
        elif event.from_state is not None or event.to_state is not None:
            yield from self._change(event)
        elif event.name in LEGAL_IN:
            yield from self._stay(event)

    def _begin(self, event: EventRow) -> Iterator[str]:
        if self.state is not None:
            yield f"begins it again, but it is {self.state}"
        begun = _beginnings(event)[event.name]
        if event.to_state != begun:
            yield f"begins it as {event.to_state}, not as {begun}"
        yield from self._arrive(event)

    def _change(self, event: EventRow) -> Iterator[str]:
        if self.state is None:
            yield "comes before its beginning"
        elif event.from_state != self.state:
            yield f"says that it was {event.from_state}, but it was {self.state}"
        before = _state(event.from_state)
        if before is None or event.to_state not in TRANSITIONS[before]:
            yield f"leads from {event.from_state} to {event.to_state}: the machine has no such step"
        if event.name != f"transfer.{event.to_state}":
            yield f"is not named after where it leads, {event.to_state}"
        yield from self._raise_epoch(event)
        yield from self._arrive(event)

    def _arrive(self, event: EventRow) -> Iterator[str]:
        arrived = _state(event.to_state)
        if arrived in ENDED and arrived != State.EXPIRED:
            self.ends += 1
            self.completed += arrived == State.COMPLETED
            if self.ends > 1:
                yield f"ends it for the {self.ends}. time"
            if self.completed > 1:
                yield f"completes it for the {self.completed}. time"
        yield from _outcome(event, arrived)
        self.state = arrived or self.state
        self.stage_put_back = None

    def _stay(self, event: EventRow) -> Iterator[str]:
        if self.state is None:
            yield "comes before its beginning"
        elif self.state not in LEGAL_IN[event.name]:
            yield f"may not happen while it is {self.state}"
        yield from _STAYS[event.name](self, event)

    def _raise_epoch(self, event: EventRow) -> Iterator[str]:
        if event.epoch is None:
            yield "has no epoch"
        elif event.epoch < self.epoch:
            yield f"has epoch {event.epoch} after epoch {self.epoch}"
        else:
            self.epoch = event.epoch

    def put_stage_back(self, event: EventRow) -> Iterator[str]:
        """A claim on the stage ends; each can end but once."""
        yield from self._raise_epoch(event)
        if event.epoch == self.stage_put_back:
            yield f"puts back what the claim of epoch {event.epoch} has put back before"
        self.stage_put_back = event.epoch

    def put_chunk_back(self, event: EventRow) -> Iterator[str]:
        """A claim on a chunk ends; the next one has a higher epoch."""
        number = (event.detail or {}).get("number")
        if self.cleaned:
            yield "may not happen once it is cleaned"
        if number is None or event.epoch is None:
            yield "does not say which chunk, or under which epoch"
            return
        before = self.chunk_epochs.get(number)
        if before is not None and event.epoch <= before:
            yield f"puts chunk {number} back under epoch {event.epoch} after epoch {before}"
        self.chunk_epochs[number] = max(event.epoch, before or 0)

    def clean(self, _event: EventRow) -> Iterator[str]:
        """Again is legal: a worker that lets go late has it cleaned once more."""
        self.cleaned = True
        yield from ()


def _beginnings(event: EventRow) -> Mapping[str, State]:
    return IN_A_BATCH if "batch" in (event.detail or {}) else BEGINNINGS


_STAYS: Mapping[str, Callable[[_Life, EventRow], Iterator[str]]] = MappingProxyType(
    {
        "transfer.put_back": _Life.put_stage_back,
        "chunk.put_back": _Life.put_chunk_back,
        "transfer.cleaned": _Life.clean,
    }
)


def _outcome(event: EventRow, arrived: State | None) -> Iterator[str]:
    """Who fails says why; nothing else has gone wrong."""
    if event.to_state is not None and arrived is None:
        yield f"leads to {event.to_state}, which is no state"
    elif arrived == State.FAILED and (event.outcome == Outcome.OK or not event.reason):
        yield f"fails it with outcome {event.outcome} and reason {event.reason}"
    elif arrived == State.CANCELLED and not event.reason:
        yield "cancels it without a reason"
    elif arrived != State.FAILED and event.outcome != Outcome.OK:
        yield f"leads to {event.to_state} with outcome {event.outcome}"
    elif arrived not in (State.FAILED, State.CANCELLED) and event.reason:
        yield f"leads to {event.to_state} with reason {event.reason}"


def _state(name: str | None) -> State | None:
    return State(name) if name in set(State) else None
