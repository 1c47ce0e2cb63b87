"""A file that is put together of one part, whose plan is delivered twice.

The second one finds the part unsent, sends it, and goes on to the end.
"""

from __future__ import annotations

import pytest

from models import State
from tests.integration.test_ledger_machine import machine_in, reader, world
from tests.steered.books import Reader
from tests.steered.machine import ended
from tests.steered.world import World

__all__ = ["reader", "world"]  # fixtures of theirs

WHOLE = {"part_size": 100, "copy_part_size": 100}
"""More than the files of the steered world have."""


@pytest.mark.parametrize("kind", ["large", "copy"])
def test_whoever_sends_its_part_puts_it_together(
    world: World, reader: Reader, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    settings = world.fleet.settings.model_copy(update=WHOLE)
    monkeypatch.setattr(world.fleet, "settings", settings)
    machine = machine_in(world, reader)()
    with ended(machine):
        machine.open(2, kind)
        machine.carry(but="transfer.plan")
        [planned] = world.broker.waiting
        world.broker.put(planned)
        machine.carry(but="transfer.chunk")
        [transfer] = machine.books.rows.transfers.values()
        assert (transfer.state, transfer.part_count) == (State.COMPLETED, 1)
        assert transfer.upload_id is not None
