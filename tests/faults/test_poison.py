"""Work that kills whoever does it: given up after some attempts, and its caller is told why."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from celery.result import AsyncResult
from sqlalchemy import text
from sqlalchemy.orm import Session

from argosy.errors import TooManyAttempts
from argosy.reference import FileReference
from tasks import transfer
from tests.conftest import MB, Sender
from tests.deployment import Deployment, remote, until
from tests.integration.client.gate import Gate, Passing, answer, gate_to

ATTEMPTS = 3
LARGE = 136 * MB
PATIENCE = 120

pytestmark = pytest.mark.skipif(remote(), reason="these tests kill the workers they run on")


@dataclass
class Fragile:
    """A deployment whose workers reach Storage through a gate."""

    deployment: Deployment
    gate: Gate

    @contextmanager
    def holding_up(self, which: Callable[[Passing], bool]) -> Iterator[None]:
        """Requests of a kind do not get through in here, nor afterwards: who sent them is dead."""
        through = threading.Event()

        def wait(passing: Passing) -> int | None:
            if not which(passing):
                return None
            through.wait()
            return 0

        self.gate.fault = wait
        try:
            yield
        finally:
            self.gate.fault = lambda _passing: None
            through.set()

    def kill_holders(self, leases: str, end: str, **about: Any) -> int:
        """SIGKILL each child that holds a lease, until `end` finds a row; says how many it were.

        Some hold it for a moment only: all looks are at one connection, and close together.
        """
        killed: set[tuple[str, int]] = set()

        def kill(session: Session) -> None:
            connection = session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            is_over = time.monotonic() + PATIENCE
            while not connection.execute(text(end), about).all():
                assert time.monotonic() < is_over, f"nobody has given up within {PATIENCE} s"
                for worker, epoch in {*connection.execute(text(leases), about)} - killed:
                    with suppress(ProcessLookupError):
                        os.kill(int(worker.rpartition("/")[2]), signal.SIGKILL)
                        killed.add((worker, epoch))
                time.sleep(0.005)

        self.deployment.transact(kill)
        return len(killed)


@pytest.fixture(scope="module")
def fragile_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    made = Deployment(tmp_path_factory.mktemp("fragile"), {"ARGOSY_MAX_ATTEMPTS": str(ATTEMPTS)})
    assert made.stack
    try:
        made.start()
        with gate_to(made.stack.supabase.url) as gate:
            for name in ("one", "two"):
                made.start_worker(name, SUPABASE_URL=gate.url)
            made.start_beat()
            yield Fragile(made, gate)
    finally:
        made.stop()


@pytest.fixture
def fragile(fragile_fleet: Fragile) -> Deployment:
    return fragile_fleet.deployment


@pytest.fixture
def from_agent(fragile: Deployment) -> Iterator[Sender]:
    yield Sender(fragile.add_agent())
    fragile.clear_spool()


HELD = f"lease_until > now() AND attempts <= {ATTEMPTS}"
"""And not by who comes after the last attempt, only to give it up."""
STAGE = f"SELECT worker, epoch FROM argosy.transfers WHERE id = :id AND {HELD}"
CHUNK = (
    "SELECT worker, epoch FROM argosy.chunks WHERE transfer_id = :id AND number = :number "
    f"AND {HELD}"
)
DERIVATIVE = f"SELECT worker, epoch FROM argosy.derivatives WHERE transfer_id = :id AND {HELD}"
FAILED = "SELECT 1 FROM argosy.transfers WHERE id = :id AND state = 'failed'"
NOT_MADE = "SELECT 1 FROM argosy.derivatives WHERE transfer_id = :id AND state = 'failed'"


def _begins(passing: Passing) -> bool:
    return passing.method == "POST" and "uploads" in passing.target


def _is_second_part(passing: Passing) -> bool:
    return passing.part == 2


def _never(_passing: Passing) -> bool:
    return False


POISON: dict[str, tuple[int, str, dict[str, int], Callable[[Passing], bool]]] = {
    "plan": (LARGE, STAGE, {}, _begins),
    "chunk": (LARGE, CHUNK, {"number": 2}, _is_second_part),
    "digest": (300 * MB, CHUNK, {"number": 0}, _never),
    "small file": (MB, CHUNK, {"number": 1}, lambda passing: passing.is_put),
    "assembly": (LARGE, STAGE, {}, lambda passing: passing.is_completion),
}
"""The size of a file, who is killed, and what is held up for that."""


@pytest.mark.parametrize("kind", POISON)
def test_an_upload_that_kills_whoever(
    fragile_fleet: Fragile, from_agent: Sender, kind: str
) -> None:
    size, leases, about, which = POISON[kind]
    fragile = fragile_fleet.deployment
    with fragile_fleet.holding_up(which):
        result = from_agent.upload(fragile.make_file("poison.bin", size))
        killed = fragile_fleet.kill_holders(leases, FAILED, id=result.id, **about)
    assert killed >= ATTEMPTS
    _is_given_up(fragile, result, "its worker died each time")
    until(lambda: fragile.transfer(result.id).cleaned_at, seconds=PATIENCE, what="a clean end")
    assert fragile.objects(from_agent.agent) == []
    assert not fragile.unfinished_uploads(from_agent.agent)


def _is_given_up(deployment: Deployment, result: AsyncResult, why: str) -> None:
    with pytest.raises(TooManyAttempts) as caught:
        result.get(timeout=PATIENCE)
    row = deployment.transfer(result.id)
    assert (row.state, row.error_code) == ("failed", "too_many_attempts")
    assert row.error_message == caught.value.message
    assert f"was given up after {ATTEMPTS} attempts: " in caught.value.message
    assert why in caught.value.message


def test_the_error_before_the_deaths_is_in_the_row(
    fragile_fleet: Fragile, from_agent: Sender
) -> None:
    fragile = fragile_fleet.deployment
    busy = answer(503, "<Error><Code>SlowDown</Code><Message>Not now.</Message></Error>")
    fragile_fleet.gate.fault = lambda passing: busy if _begins(passing) else None
    result = from_agent.upload(fragile.make_file("poison.bin", LARGE))
    noted = "SELECT 1 FROM argosy.events WHERE transfer_id = :id AND name = 'transfer.put_back'"
    until(lambda: fragile.query(noted, id=result.id), what="a first attempt")
    with fragile_fleet.holding_up(_begins):
        fragile_fleet.kill_holders(STAGE, FAILED, id=result.id)
    _is_given_up(fragile, result, "storage_unavailable: Storage answered 503 (SlowDown: Not now.)")


def test_a_derivative_that_kills_whoever_makes_it(
    fragile_fleet: Fragile, from_agent: Sender
) -> None:
    fragile = fragile_fleet.deployment
    stored = from_agent.upload(fragile.make_file("stored.bin", MB)).get(timeout=PATIENCE)
    reference = FileReference.parse(stored)
    with fragile_fleet.holding_up(lambda passing: passing.method == "GET"):
        asked = transfer.inspect.s(reference).apply_async(headers=from_agent.headers)
        fragile_fleet.kill_holders(DERIVATIVE, NOT_MADE, id=reference.id)
    with pytest.raises(TooManyAttempts, match="its worker died each time"):
        asked.get(timeout=PATIENCE)
    assert fragile.transfer(str(reference.id)).state == "completed"
    again = transfer.inspect.s(reference).apply_async(headers=from_agent.headers)
    assert FileReference.parse(again.get(timeout=PATIENCE)).facts


def test_what_was_given_up_can_be_done_over_again(
    fragile_fleet: Fragile, from_agent: Sender
) -> None:
    """By hand, once what killed the workers is gone: for whoever waited from the beginning."""
    fragile = fragile_fleet.deployment
    source = fragile.make_file("poison.bin", LARGE)
    with fragile_fleet.holding_up(_is_second_part):
        result = from_agent.upload(source)
        fragile_fleet.kill_holders(CHUNK, FAILED, id=result.id, number=2)
    anew = transfer.retry.apply_async((result.id,), headers=from_agent.headers)
    reference = FileReference.parse(anew.get(timeout=PATIENCE))
    until(lambda: AsyncResult(result.id).state == "SUCCESS", what="the first caller's outcome")
    assert FileReference.parse(AsyncResult(result.id).result) == reference
