"""A worker that is asked to end: it goes with nothing in its hands, and nothing left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from celery.result import AsyncResult
from kombu import Connection

from argosy import FileReference
from local.processes import is_alive
from local.servers.fleet import Worker
from tasks import transfer
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import Deployment, remote, until
from tests.faults.leaving import (
    put_backs,
    start_worker,
    stored_requests,
    tries,
    until_held,
    until_said,
    without_fleet,
)
from tests.integration.client.gate import Gate, gate_to
from tests.integration.stack.looking import of_each
from worker.queues import QUEUES

SIZE = 130 * MB
PARTS = 8
LONG = 600.0

pytestmark = pytest.mark.skipif(remote(), reason="these tests end the workers they run with")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with without_fleet(tmp_path_factory.mktemp("leaving")) as made:
        yield made


@pytest.fixture
def gate(fragile: Deployment) -> Iterator[Gate]:
    with gate_to(fragile.settings.supabase_url) as made:
        yield made


@pytest.fixture
def from_agent(fragile: Deployment) -> Iterator[Sender]:
    yield Sender(fragile.add_agent())
    assert fragile.stack
    for worker in fragile.stack.servers:
        if isinstance(worker, Worker):
            worker.stop()
    with Connection(fragile.environment["BROKER_URL"]) as connection:
        for queue in QUEUES:
            connection.default_channel.queue_purge(queue.name)
    fragile.clear_spool()


def _family(worker: Worker) -> list[psutil.Process]:
    main = psutil.Process(worker.pid)
    return [main, *main.children(recursive=True)]


def _check_stored(fragile: Deployment, gate: Gate, result: AsyncResult, source: Path) -> None:
    reference = FileReference.parse(result.get(timeout=RESULT_SECONDS))
    assert reference.size == source.stat().st_size
    assert {chunk.state for chunk in fragile.chunks(result.id)} == {"stored"}
    assert set(gate.stored_parts) == set(range(1, PARTS + 1))


def test_what_is_in_its_hands_is_finished(
    fragile: Deployment, gate: Gate, from_agent: Sender
) -> None:
    one = start_worker(fragile, gate, "one", grace=LONG)
    source = fragile.make_file("cargo.bin", SIZE)
    gate.hold = lambda passing: passing.part == 3
    result = from_agent.upload(source)
    until_held(gate)
    one.ask_to_end()
    until_said(one, "worker.takes_no_more")
    start_worker(fragile, gate, "two", grace=LONG)
    until(lambda: len(gate.stored_parts) == PARTS - 1, what="all parts but the held one")
    assert one.is_running()
    gate.released.set()
    assert one.wait() == 0
    _check_stored(fragile, gate, result, source)
    assert set(gate.asked_parts.values()) == {1}
    assert put_backs(fragile, result.id) == []
    assert tries(fragile, result.id) == {1}


def test_what_hangs_when_the_grace_is_over_is_handed_back_for_it(
    fragile: Deployment, gate: Gate, from_agent: Sender
) -> None:
    """Its children stand still, and are killed. No lease runs out and no beat ticks here."""
    one = start_worker(fragile, gate, "one", grace=0)
    source = fragile.make_file("cargo.bin", SIZE)
    gate.hold = lambda passing: passing.part in (3, 4)
    result = from_agent.upload(source)
    until_held(gate, 2)
    for child in _family(one)[1:]:
        child.suspend()
    one.ask_to_end()
    assert one.wait() == 0
    assert put_backs(fragile, result.id) == ["Its worker was asked to end."] * 2
    gate.hold = lambda _passing: False
    start_worker(fragile, gate, "two", grace=LONG)
    _check_stored(fragile, gate, result, source)
    again = [number for number, count in gate.asked_parts.items() if count > 1]
    assert sorted(again) == [3, 4]
    assert tries(fragile, result.id) == {1}, "nobody is blamed for it"


def test_what_moves_when_the_grace_is_over_is_handed_back_by_its_child(
    fragile: Deployment, gate: Gate, from_agent: Sender
) -> None:
    one = start_worker(fragile, gate, "one", grace=0)
    source = fragile.make_file("cargo.bin", SIZE)
    gate.hold = lambda passing: passing.part in (3, 4)  # what both children have in their hands
    result = from_agent.upload(source)
    until_held(gate, 2)
    one.ask_to_end()
    until_said(one, "worker.hands_back")
    gate.released.set()  # each child sends its next block, and looks up
    assert one.wait() == 0
    assert "internal_error: Its worker was asked to end." in put_backs(fragile, result.id)
    start_worker(fragile, gate, "two", grace=LONG)
    _check_stored(fragile, gate, result, source)
    assert max(gate.stored_parts.values()) == 1, "no part arrived twice"
    assert tries(fragile, result.id) == {1}


def test_a_small_upload_is_handed_back_too(
    fragile: Deployment, gate: Gate, from_agent: Sender
) -> None:
    one = start_worker(fragile, gate, "one", grace=0)
    source = fragile.make_file("small.bin", 20 * MB)
    gate.hold = lambda passing: passing.is_put
    result = from_agent.upload(source)
    until_held(gate)
    one.ask_to_end()
    assert one.wait() == 0
    gate.hold = lambda _passing: False
    start_worker(fragile, gate, "two", grace=LONG)
    assert FileReference.parse(result.get(timeout=RESULT_SECONDS)).size == 20 * MB
    assert tries(fragile, result.id) == {1}


def _waits_in(deployment: Deployment, queue: str) -> int:
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


def test_what_it_has_not_begun_goes_to_others_at_once(
    fragile: Deployment, gate: Gate, from_agent: Sender
) -> None:
    """It had a question in its hands that waited for its only child, which is busy for long."""
    one = start_worker(fragile, gate, "one", grace=LONG, concurrency=1)
    gate.hold = lambda passing: passing.is_put
    result = from_agent.upload(fragile.make_file("small.bin", 20 * MB))
    until_held(gate)
    asked = transfer.status.apply_async((result.id,), headers=from_agent.headers)
    until(lambda: _waits_in(fragile, "argosy.control") == 0, what="a question in its hands")
    start_worker(fragile, gate, "two", grace=LONG)
    assert not asked.ready()
    one.ask_to_end()
    assert asked.get(timeout=RESULT_SECONDS)["state"] == "moving"
    assert one.is_running()
    gate.released.set()
    assert one.wait() == 0
    assert FileReference.parse(result.get(timeout=RESULT_SECONDS)).size == 20 * MB
    assert set(stored_requests(gate).values()) == {1}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_another_signal_ends_the_grace(
    fragile: Deployment, gate: Gate, from_agent: Sender, number: signal.Signals
) -> None:
    one = start_worker(fragile, gate, "one", grace=LONG)
    gate.hold = lambda passing: passing.is_put
    from_agent.upload(fragile.make_file("small.bin", 20 * MB))
    until_held(gate)
    one.ask_to_end()
    until_said(one, "worker.leaves")
    one.ask_to_end(number)
    assert one.wait() == 0


def test_nothing_is_left(fragile: Deployment, gate: Gate, from_agent: Sender) -> None:
    one = start_worker(fragile, gate, "one", grace=LONG, concurrency=1)
    signs = Path(fragile.environment["ARGOSY_STATE_DIR"]) / "workers"
    assert list(signs.glob("one@*/*"))
    stored = from_agent.upload(fragile.make_file("some.bin", MB)).get(timeout=RESULT_SECONDS)
    looked = transfer.inspect.apply_async((stored,), headers=from_agent.headers)
    looked.get(timeout=RESULT_SECONDS)
    family = _family(one)
    assert any("fork_server" in " ".join(line) for line in of_each(family, psutil.Process.cmdline))
    one.ask_to_end()
    assert one.wait() == 0
    until(lambda: not any(map(is_alive, family)), what="the end of its whole family")
    assert not list(signs.glob("one@*"))


def test_a_broker_that_hangs_keeps_no_worker(
    fragile: Deployment, gate: Gate, from_agent: Sender
) -> None:
    one = start_worker(fragile, gate, "one", grace=0)
    broker = psutil.Process(fragile.stack_of("rabbitmq").pid)
    frozen = [broker, *broker.children(recursive=True)]
    of_each(frozen, psutil.Process.suspend)
    try:
        one.ask_to_end()
        assert one.wait() == 0
    finally:
        of_each(frozen, psutil.Process.resume)


def test_a_child_that_has_grown_is_replaced_and_no_part_is_lost(
    fragile: Deployment, gate: Gate, from_agent: Sender
) -> None:
    """Every child has more memory than this after its first task."""
    start_worker(fragile, gate, "one", grace=LONG, ARGOSY_CHILD_MEMORY_MB="64")
    source = fragile.make_file("cargo.bin", SIZE)
    result = from_agent.upload(source)
    _check_stored(fragile, gate, result, source)
    assert set(gate.asked_parts.values()) == {1}
    assert tries(fragile, result.id) == {1}
    holders = {chunk.worker for chunk in fragile.chunks(result.id)}
    assert len(holders) == PARTS + 1, "one process for each part and the digest"
