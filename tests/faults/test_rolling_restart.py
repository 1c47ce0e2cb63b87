"""Every worker of a fleet under load is ended and started anew, one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery.result import AsyncResult

from argosy import FileReference
from tests.conftest import MB, Sender
from tests.deployment import AgentInTest, Deployment, remote
from tests.faults.leaving import (
    held,
    put_backs,
    start_worker,
    stored_requests,
    tries,
    until_held,
    until_said,
    without_fleet,
)
from tests.integration.client.gate import Gate, gate_to

WORKERS = ("one", "two", "three")
AT_ONCE = 2
LARGE = 96 * MB
PARTS = 6
SMALL = 3 * MB
GRACES = [600.0, 0.0]
RECOVERY_SECONDS = 150

Sent = dict[str, tuple[Path, AsyncResult]]

pytestmark = pytest.mark.skipif(remote(), reason="these tests end the workers they run with")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("rolling")
    with without_fleet(folder, ARGOSY_CHUNK_THRESHOLD=str(4 * MB)) as made:
        yield made


@pytest.fixture
def gate(fragile: Deployment) -> Iterator[Gate]:
    with gate_to(fragile.settings.supabase_url) as made:
        yield made


@pytest.fixture
def from_agent(fragile: Deployment) -> Iterator[Sender]:
    yield Sender(fragile.add_agent())
    for name in WORKERS:
        fragile.stack_of(name).stop()
    fragile.clear_spool()


def _send(sender: Sender, large: Path, small: Path) -> Sent:
    """More work than all workers together have hands."""
    results = [(source, sender.upload(source)) for source in (large, large, *[small] * 4)]
    return {result.id: (source, result) for source, result in results}


def _restart(
    deployment: Deployment, gate: Gate, name: str, grace: float, send: Callable[[], Sent]
) -> Sent:
    """While every hand of the fleet holds a part of what it is sent here, or was before."""
    before = held(gate)
    gate.released.clear()
    gate.hold = lambda passing: passing.is_put
    sent = send()
    until_held(gate, before + len(WORKERS) * AT_ONCE)
    gate.hold = lambda _passing: False
    worker = deployment.stack_of(name)
    worker.ask_to_end()
    until_said(worker, "worker.takes_no_more" if grace else "worker.handed_back")
    gate.released.set()
    assert worker.wait() == 0
    start_worker(deployment, gate, name, grace=grace, concurrency=AT_ONCE)
    return sent


def _check(deployment: Deployment, agent: AgentInTest, sent: Sent) -> list[FileReference]:
    references = []
    for source, result in sent.values():
        reference = FileReference.parse(result.get(timeout=RECOVERY_SECONDS))
        assert reference.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
        assert tries(deployment, result.id) == {1}, "to be asked to end is nobody's fault"
        references.append(reference)
    assert deployment.objects(agent) == sorted(reference.path for reference in references)
    assert not deployment.unfinished_uploads(agent)
    return references


def _completions(deployment: Deployment, transfer_id: str) -> int:
    completed = (
        "SELECT 1 FROM argosy.events WHERE transfer_id = :id AND name = 'transfer.completed'"
    )
    return len(deployment.query(completed, id=transfer_id))


@pytest.mark.parametrize("grace", GRACES)
def test_a_rolling_restart(
    fragile: Deployment, gate: Gate, from_agent: Sender, grace: float
) -> None:
    """No lease runs out and no beat ticks here: what goes on was finished or handed back."""
    for name in WORKERS:
        start_worker(fragile, gate, name, grace=grace, concurrency=AT_ONCE)
    large, small = fragile.make_file("large", LARGE), fragile.make_file("small", SMALL)
    sent: Sent = {}
    for name in WORKERS:
        sent |= _restart(fragile, gate, name, grace, lambda: _send(from_agent, large, small))
    _check(fragile, from_agent.agent, sent)
    assert {_completions(fragile, transfer_id) for transfer_id in sent} == {1}
    stored = stored_requests(gate)
    assert len(stored) == len(WORKERS) * (2 * PARTS + 4), "each part, and each small file"
    handed_back = sum(len(put_backs(fragile, transfer_id)) for transfer_id in sent)
    repeated = sum(stored.values()) - len(stored)
    if grace:
        assert (handed_back, repeated) == (0, 0)
    else:
        assert repeated <= handed_back == len(WORKERS) * AT_ONCE
