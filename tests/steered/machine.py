"""What may happen to a fleet, as rules that a test follows in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from models import ENDED, State
from tests.steered.books import Books, Reader, at_the_end
from tests.steered.broker import Message, Results
from tests.steered.moments import Breaks, Fault
from tests.steered.storage import Ends
from tests.steered.workers import Worker
from tests.steered.world import LARGE, SMALL, World, content_of

MOST_AT_ONCE, MOST_TRANSFERS = 2, 6
MOST_MESSAGES = 40
MOST_ROUNDS = 60
"""Rounds of resuming in which everything ends: attempts are counted, so it is soon."""

AnyFault = Fault | tuple[Breaks, int] | None
Move = tuple[int, Ends, tuple[Breaks, int] | None]
KINDS = ("small", "large", "encoded", "keyed", "download", "small download", "copy")
CONTROLS = ("cancel", "pause", "unpause")
FAULTS = st.none() | st.tuples(st.sampled_from(Breaks), st.integers(0, 7) | st.integers(0, 30))
ENDS = st.sampled_from([Ends.WELL] * 8 + [end for end in Ends if end != Ends.WELL])
INDEX = st.integers(0, 7)
MOVES = st.lists(st.tuples(INDEX, ENDS, FAULTS), min_size=1, max_size=6)

counted: Counter[str] = Counter()


class FleetMachine(RuleBasedStateMachine):
    """One history."""

    world: ClassVar[World]
    reader: ClassVar[Reader]

    def __init__(self) -> None:
        super().__init__()
        self.world.reset()
        self.books = Books(self.world, self.reader)
        self.requests: dict[UUID, Message] = {}
        self.asked: list[tuple[str, UUID, Message]] = []

    @initialize(window=st.integers(1, 3), kind=st.sampled_from(KINDS))
    def begin(self, window: int, kind: str) -> None:
        """Somebody asks for a transfer; it is accepted, and a worker sets out to plan it."""
        self.open(window, kind)
        for _ in range(2):
            self.step(self._taken(self.world.broker.waiting[0]))

    def open(self, window: int, kind: str) -> None:
        """Somebody asks for a transfer."""
        self.world.set(window=window)
        self._ask(kind)

    # What agents ask for

    @rule(kind=st.sampled_from(KINDS), index=INDEX)
    def ask(self, kind: str, index: int) -> None:
        """Another transfer, or the same once more by an agent that has heard nothing."""
        going = [row for row in self.books.rows.transfers.values() if row.state not in ENDED]
        if len(going) < MOST_AT_ONCE and len(self.requests) < MOST_TRANSFERS:
            self._ask(kind)
        else:
            self.world.broker.put(_one(list(self.requests.values()), index))

    def _ask(self, kind: str) -> None:
        message = _request(self.world, kind, len(self.requests))
        self.requests[UUID(message.id)] = message

    @rule(index=INDEX, what=st.sampled_from(CONTROLS), at_once=st.booleans())
    def steer(self, index: int, what: str, at_once: bool) -> None:
        transfer_id = _one(sorted(self.requests), index)
        message = self.world.ask(f"transfer.{what}", str(transfer_id))
        self.asked.append((what, transfer_id, message))
        if at_once:
            self.step(self._taken(message))

    # What workers do

    @rule(moves=MOVES)
    def work(self, moves: list[Move]) -> None:
        """Workers take messages, and go on with what they have taken."""
        for index, ends, fault in moves:
            there = [*self.world.busy(), *self.world.broker.waiting]
            if there:
                one = _one(there, index)
                self.step(one if isinstance(one, Worker) else self._taken(one), ends, fault)

    @rule(moves=MOVES)
    def work_again(self, moves: list[Move]) -> None:
        """The same: most of what happens is work."""
        self.work(moves)

    @rule(index=INDEX)
    def take_over(self, index: int) -> None:
        """The broker takes a worker for gone that is not; another has its message at once."""
        if self.world.busy():
            message = replace(_one(self.world.busy(), index).message, redelivered=True)
            self.step(self.world.deliver(message))

    @rule(index=INDEX)
    def beat(self, index: int) -> None:
        """A worker renews its lease, and learns so that it has lost it."""
        held = [worker.lease for worker in self.world.busy() if worker.lease]
        if held:
            _one(held, index).beat()

    # What becomes of messages, and of time

    @rule(index=INDEX, what=st.sampled_from(["lost", "doubled", "all lost"]))
    def message_is(self, index: int, what: str) -> None:
        queue = self.world.broker
        if what == "all lost" or not queue.waiting:
            queue.waiting.clear()
        elif what == "lost":
            queue.take(index)
        elif len(queue.waiting) < MOST_MESSAGES:
            queue.put(_one(queue.waiting, index))

    @rule(index=INDEX, leases=st.booleans(), resume=st.booleans(), fault=FAULTS)
    def time_passes(
        self, index: int, leases: bool, resume: bool, fault: tuple[Breaks, int] | None
    ) -> None:
        self.world.overdue(_one(sorted(self.requests), index), leases=leases)
        if resume and len(self.world.broker.waiting) < MOST_MESSAGES:
            self.step(self.world.deliver(self.world.own("transfer.resume")), Ends.WELL, fault)

    def _taken(self, message: Message) -> Worker:
        self.world.broker.waiting.remove(message)
        return self.world.deliver(message)

    def step(self, worker: Worker, ends: Ends = Ends.WELL, fault: AnyFault = None) -> None:
        """One step of a worker; its message comes again unless it was acknowledged."""
        counted["steps"] += 1
        self.books.before(worker)
        worker.step(ends, Fault(*fault) if isinstance(fault, tuple) else fault)
        counted["kills"] += worker.was_killed
        if worker.at is None and not worker.acknowledged:
            self.world.broker.give_back(worker.message)
        self._check(self.books.after(worker))

    def next(self, but: str | None = None) -> Worker | None:
        """The worker that is to go on, by itself: none that carries a message of task `but`."""
        busy = [worker for worker in self.world.busy() if worker.message.task != but]
        waiting = [message for message in self.world.broker.waiting if message.task != but]
        return busy[0] if busy else self._taken(waiting[0]) if waiting else None

    def carry(self, *, but: str | None = None) -> None:
        """Have workers do all there is to do, but for the messages of task `but`."""
        while worker := self.next(but):
            self.step(worker)
        self.the_books_are_right()

    def run_task(self, task: str) -> None:
        """Have the messages of one task done, by workers of their own."""
        for message in [one for one in self.world.broker.waiting if one.task == task]:
            worker = self._taken(message)
            while worker.at is not None:
                self.step(worker)
        self.the_books_are_right()

    def _check(self, wrong: list[str]) -> None:
        assert not wrong, "\n".join(wrong)

    # What is always true

    @invariant()
    def the_books_are_right(self) -> None:
        self._check(self.books.look())

    # What is true in the end

    def teardown(self) -> None:
        try:
            self._check_the_end()
        finally:
            self.world.end()

    def _check_the_end(self) -> None:
        self._run_until_quiet()
        for transfer_id, row in self.books.rows.transfers.items():
            if row.state == State.PAUSED:
                self.world.ask("transfer.unpause", str(transfer_id))
        self._run_until_quiet()
        expected = {key: _content(self.requests[key]) for key in self.books.rows.transfers}
        wrong = at_the_end(self.world, self.books.rows, expected)
        wrong += [one for control in self.asked for one in self._kept(*control)]
        counted["histories"] += 1
        counted["transfers"] += len(expected)
        for row in self.books.rows.transfers.values():
            counted[row.state] += 1
        self._check(wrong)

    def _run_until_quiet(self) -> None:
        """Until nothing is sent any more, however long one waits."""
        silent = 0
        for _ in range(MOST_ROUNDS):
            self.carry()
            self.world.overdue(leases=True)
            self.step(self.world.deliver(self.world.own("transfer.resume")))
            silent = 0 if self.world.broker.waiting else silent + 1
            if silent == 2:
                return
        raise AssertionError(f"it never ends: {[str(one) for one in self.world.broker.waiting]}")

    def _kept(self, what: str, transfer_id: UUID, message: Message) -> Iterator[str]:
        """What an agent was told of its cancellation is so, and what was refused was too late."""
        told = {state for state, _ in Results.recorded[message.id]}
        row = self.books.rows.transfers.get(transfer_id)
        if len(told) > 1:
            yield f"{transfer_id}: {what} was told {Results.recorded[message.id]}"
        if what == "cancel" and told == {"SUCCESS"} and row.state != State.CANCELLED:
            yield f"{transfer_id}: it was cancelled, and is {row.state}"


def _request(world: World, kind: str, number: int) -> Message:
    small = kind.startswith("small")
    size = SMALL if small else LARGE
    if "download" in kind:
        return world.ask(
            "transfer.download", world.stored[size].document(), f"{world.spool}/to-{number}"
        )
    if kind == "copy":
        return world.ask("transfer.copy", world.stored[size].document(), name=f"copy-{number}")
    options = {"encoded": {"compress": "zstd"}, "keyed": {"idempotency_key": "k"}}.get(kind, {})
    return world.ask("transfer.upload", str(world.source(size)), **options)


def _content(message: Message) -> bytes:
    said = message.args[0]
    return content_of(
        said["size"] if isinstance(said, dict) else int(Path(said).name.partition("-")[0])
    )


def _one(of: Any, index: int) -> Any:
    return of[index % len(of)]


@contextmanager
def ended(machine: FleetMachine) -> Iterator[None]:
    """A history that was begun, brought to its end."""
    try:
        yield
        machine.teardown()
    finally:
        machine.world.end()
