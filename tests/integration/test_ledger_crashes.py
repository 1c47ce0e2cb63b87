"""One fault at each moment of a task, one after the other: all ends as if there were none."""

from __future__ import annotations

import pytest

from tests.integration.test_ledger_machine import MINUTES, machine_in, reader, world
from tests.steered.books import Reader
from tests.steered.machine import FleetMachine, ended
from tests.steered.moments import Breaks, Fault
from tests.steered.storage import Ends
from tests.steered.world import World

__all__ = ["reader", "world"]  # fixtures of theirs

TASKS = {"download": "transfer.chunk"}
ALL_TASKS = {
    **TASKS,
    "small": "transfer.plan",
    "small download": "transfer.download",
    "large": "transfer.reassemble",
    "encoded": "transfer.digest",
    "copy": "transfer.plan",
}


@pytest.mark.parametrize(("kind", "task"), (ALL_TASKS if MINUTES else TASKS).items())
@pytest.mark.parametrize("breaks", Breaks)
def test_a_crash_at_each_moment(
    world: World, reader: Reader, kind: str, task: str, breaks: Breaks
) -> None:
    after = 0
    while not crash(machine_in(world, reader)(), kind, task, (breaks, after)):
        after += 1
    assert after > 5


def crash(machine: FleetMachine, kind: str, task: str, fault: tuple[Breaks, int]) -> bool:
    """Everything goes well but for one fault; True if the task came to its end before it."""
    with ended(machine):
        machine.open(1, kind)
        machine.carry(but=task)
        armed = Fault(*fault)
        worker = machine.next()
        while worker and worker.at:
            machine.step(worker, Ends.WELL, armed if armed.after >= 0 else None)
        return armed.after >= 0
