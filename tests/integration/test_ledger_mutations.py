"""The machine can fail: with any one rule of the design switched off it finds what goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import and_, bindparam, true
from sqlalchemy.orm import Session

from models import Chunk, ChunkState, Transfer, chunk_claims, storing, transitions
from models.window import open_window
from tasks import follow
from tasks.fleet import fleet
from tasks.messages import send_chunks
from tests.integration.test_ledger_crashes import crash
from tests.integration.test_ledger_machine import machine_in, reader, world
from tests.steered.books import Reader
from tests.steered.machine import FleetMachine, ended
from tests.steered.moments import Breaks
from tests.steered.storage import Ends
from tests.steered.world import LONG, World

__all__ = ["reader", "world"]  # fixtures of theirs


def held_whatever_the_epoch() -> Any:
    return and_(
        Chunk.transfer_id == bindparam("of_transfer"),
        Chunk.number == bindparam("of_number"),
        Chunk.epoch >= bindparam("of_epoch"),
        Chunk.state == ChunkState.MOVING,
    )


def anew(built_once: Any) -> Any:
    """A statement that is built each time: of what its parts are then."""
    return built_once.__wrapped__


def counting_twice(real: Any) -> Any:
    def count_down(session: Session, chunk: Chunk, *rest: Any) -> Any:
        real(session, chunk, *rest)
        return real(session, chunk, *rest)

    return count_down


def opening_later(transfer: Transfer, stored: storing.Stored) -> None:
    """The window is opened in a transaction of its own: a crash before it loses the slot."""
    if not stored.assembling:
        numbers = fleet().transact(lambda session: open_window(session, transfer.id, 1, LONG))
        send_chunks(transfer.id, transfer.lane, numbers)
    follow.follow(transfer, stored)


def forgetting_the_lease(*args: Any, lease_until: Any = None, **values: Any) -> Any:
    return transitions.advance(*args, **values)


Begin = Callable[[], FleetMachine]


def simply(begin: Begin) -> None:
    with ended(machine := begin()):
        machine.begin(window=1, kind="small")
        machine.carry()


def stale_worker(begin: Begin) -> None:
    """A worker is taken for gone, another has its chunk, and then the first one stores it."""
    with ended(machine := begin()):
        machine.begin(window=1, kind="small")
        machine.take_over(0)
        machine.work([(0, Ends.WELL, None)])


def stale_failure(begin: Begin) -> None:
    """Storage refuses a worker whose stage another has."""
    with ended(machine := begin()):
        machine.begin(window=1, kind="large")
        machine.take_over(0)
        machine.work([(0, Ends.REFUSED, None)])


def accepted(begin: Begin) -> None:
    """The worker dies that has accepted the request, and the broker loses everything."""
    with ended(machine := begin()):
        machine.begin(window=1, kind="large")
        machine.work([(0, Ends.KILLED, None)])
        machine.world.broker.waiting.clear()


def losing(task: str) -> Callable[[Begin], None]:
    def script(begin: Begin) -> None:
        with ended(machine := begin()):
            machine.begin(window=1, kind="large")
            machine.carry(but=task)
            machine.world.broker.waiting.clear()

    return script


def crashes(begin: Begin) -> None:
    """The worker of the first part dies, once at each moment."""
    after = 0
    while not crash(begin(), "download", "transfer.chunk", (Breaks.WORKER, after)):
        after += 1


def cancelled_as_it_is_planned(begin: Begin) -> None:
    """Its clean-up has been when Storage begins an upload, and the worker dies."""
    with ended(machine := begin()):
        machine.begin(window=1, kind="large")
        machine.steer(0, "cancel", at_once=True)
        machine.run_task("transfer.cleanup")
        machine.work([(0, Ends.KILLED_AFTER, None)])


def cancelled_as_it_is_moved(begin: Begin) -> None:
    """Its worker stood still for longer than its lease, and then sends the bytes."""
    with ended(machine := begin()):
        machine.begin(window=1, kind="small")
        machine.steer(0, "cancel", at_once=True)
        machine.world.overdue(leases=True)
        machine.run_task("transfer.cleanup")
        machine.work([(0, Ends.WELL, None)])


def paused(begin: Begin) -> None:
    """The message of a part is delivered in a pause."""
    with ended(machine := begin()):
        machine.begin(window=1, kind="large")
        machine.carry(but="transfer.chunk")
        machine.steer(0, "pause", at_once=True)
        machine.the_books_are_right()
        machine.run_task("transfer.chunk")


MUTATIONS: dict[str, tuple[dict[str, Any], Callable[[Begin], None]]] = {
    "a stale worker is not told from the one that has the chunk": (
        {
            "models.chunk_claims.held": held_whatever_the_epoch,
            "models.storing.held": held_whatever_the_epoch,
            "models.storing._entering": anew(storing._entering),
        },
        stale_worker,
    ),
    "a failure looks at no claim": (
        {"tasks.claims.fail": lambda session, key, why, **_: transitions.fail(session, key, why)},
        stale_failure,
    ),
    "a stored chunk counts twice": (
        {"models.storing._count_down": counting_twice(storing._count_down)},
        simply,
    ),
    "nothing is settled": ({"tasks.base.settle": lambda *_: None}, simply),
    "plans are not sent again": (
        {"tasks.resume.due_plans": lambda *_, **__: []},
        accepted,
    ),
    "chunks are not sent again": (
        {"tasks.resume.due_chunks": lambda *_, **__: []},
        losing("transfer.chunk"),
    ),
    "assemblies are not sent again": (
        {"tasks.resume.due_assemblies": lambda *_, **__: []},
        losing("transfer.reassemble"),
    ),
    "the window is opened later": (
        {
            "models.storing.open_next": lambda *_: (),
            "tasks.chunk.follow": opening_later,
            "tasks.resume.due_windows": lambda *_, **__: [],
        },
        crashes,
    ),
    "a cancellation forgets the lease": (
        {"models.control.advance": forgetting_the_lease},
        cancelled_as_it_is_planned,
    ),
    "nobody cleans again": (
        {"tasks.claims.clean_again": lambda *_: False},
        cancelled_as_it_is_moved,
    ),
    "chunks are claimed in a pause": (
        {
            "models.chunk_claims._transfer_is": lambda *_: true(),
            "models.chunk_claims._claiming": anew(chunk_claims._claiming),
        },
        paused,
    ),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_it_finds(world: World, reader: Reader, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is legal as the fleet is, and is found where one thing is switched off."""
    instead, script = MUTATIONS[what]
    script(machine_in(world, reader))
    for place, mutant in instead.items():
        monkeypatch.setattr(place, mutant)
    with pytest.raises(AssertionError) as found:
        script(machine_in(world, reader))
    print(what, "->", str(found.value)[:300])
