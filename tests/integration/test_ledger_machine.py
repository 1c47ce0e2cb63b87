"""The fleet's tasks against a model: any order, any loss, a crash between any two statements.

What runs here is the fleet's own code, on a real PostgreSQL as the fleet's own role. Around it
everything is steered (see `tests.steered`): messages are delivered, lost, doubled and come
again; workers stop before each call of Storage and die there, or before any statement, commit,
message or result; leases and waits end when the test says so. After each step the rows are
compared with what must be true of them; in the end everything is delivered, and everything has
to end.

`make test` tries the same few histories each time. With ARGOSY_MACHINE_MINUTES others are tried
for so long, and in tests/integration/test_ledger_crashes.py more tasks:

    ARGOSY_MACHINE_MINUTES=15 .venv/bin/python -m pytest --timeout 0 -s \\
        tests/integration/test_ledger_machine.py tests/integration/test_ledger_crashes.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import create_engine, make_url, text

from local.servers.postgres import Postgres
from local.supabase.schema import apply_schema
from tests.steered.books import Reader
from tests.steered.machine import FleetMachine, counted
from tests.steered.world import World, steered

MINUTES = float(os.environ.get("ARGOSY_MACHINE_MINUTES", "0"))
PROFILE = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
"""Always the same histories. A failing one is told as it is: to shrink it takes minutes."""
OTHERS = settings(PROFILE, derandomize=False, max_examples=100)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("machine")
    server = Postgres(folder, uuid4().hex)
    server.start()
    try:
        apply_schema(server.url)
        _make_fast(server.url)
        (folder / "spool").mkdir()
        with steered(server.url, folder / "spool") as made:
            yield made
    finally:
        server.stop()


def _make_fast(url: str) -> None:
    """Nobody pulls the plug of this database."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


def machine_in(world: World, reader: Reader) -> type[FleetMachine]:
    """The machine in this world."""
    return type("FleetMachine", (FleetMachine,), {"world": world, "reader": reader})


@pytest.fixture(scope="module")
def reader(world: World) -> Iterator[Reader]:
    made = Reader(world.fleet.settings.operator_url)
    yield made
    made.close()


def test_any_order_of_anything(world: World, reader: Reader) -> None:
    machine = machine_in(world, reader)
    run_state_machine_as_test(machine, settings=PROFILE)
    end = time.monotonic() + MINUTES * 60
    while time.monotonic() < end:
        run_state_machine_as_test(machine, settings=OTHERS)
        print(f"{(end - time.monotonic()) / 60:.1f} minutes left: {dict(counted)}", flush=True)
