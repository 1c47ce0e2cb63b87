"""Two workers plan the same file otherwise: one has seen a slow line, the other has not."""

from __future__ import annotations

import pytest

from argosy.storage.streams import Streams
from models import State
from tests.integration.test_ledger_machine import machine_in, reader, world
from tests.steered.books import Reader
from tests.steered.machine import ended
from tests.steered.storage import Ends
from tests.steered.world import World

__all__ = ["reader", "world"]  # fixtures of theirs

THRESHOLD = 100
"""More bytes than the files of the steered world have."""


def _slow() -> Streams:
    made = Streams()
    made.note("upload", 1.0)
    return made


def test_parts_that_the_first_one_has_begun_are_not_left(
    world: World, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies before its plan is entered; the next one sends the file in one piece."""
    settings = world.fleet.settings.model_copy(update={"chunk_threshold": THRESHOLD})
    settings.__pydantic_fields_set__.discard("chunk_threshold")
    monkeypatch.setattr(world.fleet, "settings", settings)
    monkeypatch.setattr(world.fleet, "streams", _slow())
    machine = machine_in(world, reader)()
    with ended(machine):
        machine.open(2, "large")
        machine.carry(but="transfer.plan")
        [planned] = world.broker.waiting
        first = machine._taken(planned)
        while "create" not in str(first.at):
            machine.step(first)
        machine.step(first, Ends.KILLED_AFTER)
        assert len(world.storage.uploads) == 1
        monkeypatch.setattr(world.fleet, "streams", Streams())
        machine.carry()
        [transfer] = machine.books.rows.transfers.values()
        assert (transfer.state, transfer.upload_id) == (State.COMPLETED, None)
        assert not world.storage.uploads
