"""Storage is away for a while: requests are taken all the same, and hardly anybody asks for it."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from celery.result import AsyncResult

from argosy.errors import StorageUnavailable
from argosy.reference import FileReference
from tasks import transfer
from tests.conftest import MB, Sender
from tests.deployment import Deployment, remote, until
from tests.integration.client.gate import Gate, Passing

UPLOADS = 40
LARGE = 136 * MB
AWAY_SECONDS = 40
"""How long Storage is away once everything was accepted."""
PATIENCE = 180
PROCESSES = 4

pytestmark = [
    pytest.mark.skipif(remote(), reason="these tests stop the Storage they run on"),
    pytest.mark.timeout(900),
]


class Counting(Gate):
    """A gate that notes when each request came, also those that found nobody behind it."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._behind = (parts.hostname or "", parts.port or 80)
        self.asked: list[float] = []
        super().__init__(upstream)
        self.fault = self._note

    def _note(self, _passing: Passing) -> None:
        self.asked.append(time.monotonic())

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            socket.create_connection(self._behind).close()
            super()._serve(client)
            return
        self.asked.append(time.monotonic())
        client.close()

    def since(self, start: float) -> list[float]:
        """When requests came, in seconds since then."""
        return [at - start for at in self.asked if at >= start]


@pytest.fixture(scope="module")
def gate_and_fleet(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Counting, Deployment]]:
    made = Deployment(tmp_path_factory.mktemp("fragile"))
    assert made.stack
    gate = Counting(made.stack.supabase.url)
    try:
        made.start()
        for name in ("one", "two"):
            made.start_worker(name, PROCESSES // 2, SUPABASE_URL=gate.url)
        made.start_beat()
        yield gate, made
    finally:
        gate.close()
        made.stop()


@pytest.fixture
def gate(gate_and_fleet: tuple[Counting, Deployment]) -> Counting:
    return gate_and_fleet[0]


@pytest.fixture
def fragile(gate_and_fleet: tuple[Counting, Deployment]) -> Deployment:
    return gate_and_fleet[1]


@pytest.fixture
def from_agent(fragile: Deployment) -> Iterator[Sender]:
    yield Sender(fragile.add_agent())
    fragile.clear_spool()


def _accepted(deployment: Deployment, result: AsyncResult) -> bool:
    row = "SELECT 1 FROM argosy.transfers WHERE id = :id"
    return bool(deployment.query(row, id=result.id))


def _per_second(moments: list[float]) -> list[int]:
    counts = Counter(int(at) for at in moments)
    return [counts[second] for second in range(max(counts, default=-1) + 1)]


def test_work_waits_and_comes_back_without_a_rush(
    gate: Counting, fragile: Deployment, from_agent: Sender
) -> None:
    sources = [fragile.make_file(f"cargo-{number}.bin", MB) for number in range(UPLOADS)]
    large = fragile.make_file("large.bin", LARGE)
    moving = from_agent.upload(large)
    begun = "SELECT 1 FROM argosy.transfers WHERE id = :id AND bytes_done > 0"
    until(lambda: fragile.query(begun, id=moving.id), what="a transfer in the middle")

    gone = time.monotonic()
    fragile.stack_of("supabase").stop()
    waits, results = [], []
    for source in sources:
        sent = time.monotonic()
        results.append(from_agent.upload(source))
        until(lambda: _accepted(fragile, results[-1]), what="its row")
        waits.append(time.monotonic() - sent)
    end = time.monotonic() + AWAY_SECONDS
    answers = []
    while time.monotonic() < end:
        asked = time.monotonic()
        status = transfer.status.apply_async((results[0].id,), headers=from_agent.headers)
        assert status.get(timeout=PATIENCE)["state"] in ("queued", "moving")
        answers.append(time.monotonic() - asked)
    away = gate.since(gone)
    seconds = time.monotonic() - gone

    fragile.stack_of("supabase").start()
    back = time.monotonic()
    for result in [*results, moving]:
        FileReference.parse(result.get(timeout=PATIENCE))
    after = gate.since(back)
    print(f"accepted, slowest after {max(waits):.2f} s; status, slowest {max(answers):.2f} s")
    print(f"away for {seconds:.0f} s: {len(away)} requests, a second: {_per_second(away)}")
    print(f"back, all done after {time.monotonic() - back:.0f} s, a second: {_per_second(after)}")
    # Each process may learn it by itself, in a few requests; then one looks, every few seconds.
    assert len(away) < 10 * PROCESSES + seconds
    assert len(fragile.objects(from_agent.agent)) == UPLOADS + 1
    put_back = "SELECT count(*) AS n FROM argosy.events WHERE name = ANY(:names)"
    noted = fragile.query(put_back, names=["transfer.put_back", "chunk.put_back"])[0].n
    assert noted < 3 * UPLOADS


def test_time_without_progress_still_ends_a_transfer(
    gate: Counting, fragile: Deployment, from_agent: Sender
) -> None:
    """Nobody tries, but the clock goes on: as if the transfer were two days old."""
    storage = fragile.stack_of("supabase")
    storage.stop()
    try:
        result = from_agent.upload(fragile.make_file("old.bin", MB))
        until(lambda: _accepted(fragile, result), what="its row")
        fragile.query(
            "UPDATE argosy.transfers SET created_at = now() - interval '2 days', "
            "progress_at = NULL, republish_at = now() WHERE id = :id RETURNING id",
            id=result.id,
        )
        with pytest.raises(StorageUnavailable):
            result.get(timeout=PATIENCE)
        assert fragile.transfer(result.id).state == "failed"
    finally:
        storage.start()
