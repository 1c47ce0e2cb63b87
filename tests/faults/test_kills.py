"""Every process of the deployment, killed with SIGKILL in the middle of a transfer.

The transfer completes, once, verified, and leaves nothing behind.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from celery.result import AsyncResult

from argosy import FileReference
from argosy.storage.s3 import Endpoint, ObjectStore
from argosy.tokens import Mint
from local.servers import NotOurs
from tests.conftest import MB, Sender
from tests.deployment import AgentInTest, Deployment, deployed, remote, until

SIZE = 300 * MB
RECOVERY_SECONDS = 150

pytestmark = pytest.mark.skipif(remote(), reason="these tests kill the servers they run on")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of this module's own, to be broken."""
    with deployed(tmp_path_factory.mktemp("fragile")) as made:
        yield made


@pytest.fixture(scope="module")
def fragile_agent(fragile: Deployment) -> AgentInTest:
    return fragile.add_agent()


@pytest.fixture
def from_agent(fragile: Deployment, fragile_agent: AgentInTest) -> Iterator[Sender]:
    yield Sender(fragile_agent)
    fragile.clear_spool()


def _kill_child(deployment: Deployment) -> None:
    """SIGKILL the worker child that holds a chunk."""
    [row, *_] = until(
        lambda: deployment.query("SELECT worker FROM argosy.chunks WHERE lease_until IS NOT NULL"),
        what="a chunk in a worker's hands",
    )
    pid = int(row.worker.rpartition("/")[2])
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid) or _is_zombie(pid), what="the child's end")


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _kill_worker(deployment: Deployment) -> None:
    worker = deployment.stack_of("one")
    worker.kill()
    worker.start()


def _kill_server(name: str) -> Callable[[Deployment], None]:
    def kill(deployment: Deployment) -> None:
        server = deployment.stack_of(name)
        try:
            server.kill()
        except NotOurs as error:
            pytest.skip(f"ARGOSY_TEST_BROKER_URL names the broker: {error}")
        server.start()

    return kill


VICTIMS = {
    "worker's child": _kill_child,
    "worker": _kill_worker,
    "rabbitmq": _kill_server("rabbitmq"),
    "postgres": _kill_server("postgres"),
    "valkey": _kill_server("valkey"),
    "supabase": _kill_server("supabase"),
}


def _in_the_middle(deployment: Deployment, result: AsyncResult) -> None:
    """Wait until some bytes have been moved, but not all."""

    def moving() -> bool:
        rows = deployment.query(
            "SELECT state, bytes_done FROM argosy.transfers WHERE id = :id", id=result.id
        )
        assert not rows or rows[0].state in ("queued", "planned", "moving"), "too late to kill"
        return bool(rows) and 0 < rows[0].bytes_done < SIZE

    until(moving, what="a transfer in the middle")


def _check_once_and_clean(deployment: Deployment, transfer_id: str, agent: AgentInTest) -> None:
    completed = deployment.query(
        "SELECT id FROM argosy.events WHERE transfer_id = :id AND name = 'transfer.completed'",
        id=transfer_id,
    )
    assert len(completed) == 1
    assert deployment.transfer(transfer_id).bytes_done == SIZE
    assert not deployment.unfinished_uploads(agent)


def _sha256_in_storage(deployment: Deployment, reference: FileReference) -> str:
    """The checksum of the stored bytes, read as the agent and not by the fleet."""
    settings = deployment.settings
    endpoint = Endpoint(
        f"{settings.supabase_url}/storage/v1/s3",
        settings.project_ref,
        settings.supabase_anon_key.get_secret_value(),
    )
    store = ObjectStore(endpoint, lambda: Mint(settings).token_for(reference.owner))
    digest = hashlib.sha256()
    for block in store.get(reference.bucket, reference.path):
        digest.update(block)
    return digest.hexdigest()


@pytest.mark.parametrize("victim", VICTIMS)
def test_an_upload_survives_the_kill_of(
    fragile: Deployment, from_agent: Sender, victim: str
) -> None:
    source = fragile.make_file("cargo.bin", SIZE)
    before = fragile.objects(from_agent.agent)
    result = from_agent.upload(source)
    _in_the_middle(fragile, result)
    VICTIMS[victim](fragile)
    reference = FileReference.parse(result.get(timeout=RECOVERY_SECONDS))
    assert reference.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert _sha256_in_storage(fragile, reference) == reference.sha256
    _check_once_and_clean(fragile, result.id, from_agent.agent)
    assert fragile.objects(from_agent.agent) == sorted([*before, reference.path])


@pytest.fixture(scope="module")
def stored(
    fragile: Deployment, fragile_agent: AgentInTest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FileReference, Path]:
    """A file in Storage, and a copy of it outside the spool."""
    source = fragile.make_file("stored.bin", SIZE)
    result = Sender(fragile_agent).upload(source)
    reference = FileReference.parse(result.get(timeout=RECOVERY_SECONDS))
    return reference, source.rename(tmp_path_factory.mktemp("copies") / "stored.bin")


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_download_survives_the_kill_of(
    fragile: Deployment, stored: tuple[FileReference, Path], from_agent: Sender, victim: str
) -> None:
    reference, original = stored
    result = from_agent.download(reference, fragile.spool / "back.bin")
    _in_the_middle(fragile, result)
    VICTIMS[victim](fragile)
    back = result.get(timeout=RECOVERY_SECONDS)
    assert filecmp.cmp(original, back, shallow=False)
    _check_once_and_clean(fragile, result.id, from_agent.agent)
    assert [path.name for path in fragile.spool.iterdir()] == ["back.bin"]


def test_a_small_upload_survives_the_kill_of_its_worker_child(
    fragile: Deployment, from_agent: Sender
) -> None:
    """One PUT, and the task that does it is the one that reports: its message comes back."""
    source = fragile.make_file("small.bin", 100 * MB)
    result = from_agent.upload(source)
    _kill_child(fragile)
    reference = FileReference.parse(result.get(timeout=RECOVERY_SECONDS))
    assert _sha256_in_storage(fragile, reference) == reference.sha256
    [chunk] = fragile.chunks(result.id)
    assert chunk.attempts == 2
