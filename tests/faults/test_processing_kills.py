"""Every process of the deployment, killed while the fleet compresses a file."""

from __future__ import annotations

import filecmp
import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy import FileReference
from tasks import transfer
from tests.conftest import MB, Sender
from tests.deployment import AgentInTest, Deployment, deployed, remote, until
from tests.faults.test_kills import RECOVERY_SECONDS, VICTIMS
from tests.integration.test_compressed_uploads import stored_bytes, write_text

SIZE = 400 * MB
IN_THE_MIDDLE = [name for name in sorted(VICTIMS) if name != "worker's child"]

pytestmark = pytest.mark.skipif(remote(), reason="these tests kill the servers they run on")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of this module's own, to be broken."""
    with deployed(tmp_path_factory.mktemp("fragile")) as made:
        yield made


@pytest.fixture
def from_agent(fragile: Deployment) -> Sender:
    return Sender(fragile.add_agent())


@pytest.fixture(scope="module")
def words(fragile: Deployment) -> Path:
    """Text that is worth compressing, for as long as these tests run."""
    return write_text(fragile.spool / "words.txt", SIZE)


def _kill_holder(deployment: Deployment, table: str) -> None:
    """SIGKILL the worker child that is at it."""
    [row, *_] = until(
        lambda: deployment.query(f"SELECT worker FROM argosy.{table} WHERE lease_until > now()"),
        what="work in a worker's hands",
    )
    os.kill(int(row.worker.rpartition("/")[2]), signal.SIGKILL)


def _check(deployment: Deployment, agent: AgentInTest, reference: FileReference) -> None:
    assert reference.stored
    stored = stored_bytes(deployment, agent, reference)
    assert hashlib.sha256(stored).hexdigest() == reference.stored.sha256
    assert not deployment.unfinished_uploads(agent)


def _parts_are_stored(deployment: Deployment, transfer_id: str) -> bool:
    row = deployment.query(
        "SELECT state, bytes_done FROM argosy.transfers WHERE id = :id", id=transfer_id
    )
    assert not row or row[0].state in ("queued", "planned", "moving"), "too late to kill"
    return bool(row) and row[0].bytes_done > 0


@pytest.mark.parametrize("victim", [*IN_THE_MIDDLE, "worker's child"])
def test_a_compressed_upload_survives_the_kill_of(
    fragile: Deployment, from_agent: Sender, words: Path, victim: str
) -> None:
    result = from_agent.upload(words, compress="zstd")
    until(lambda: _parts_are_stored(fragile, result.id), what="a part that is stored")
    if victim == "worker's child":
        _kill_holder(fragile, "chunks")
    else:
        VICTIMS[victim](fragile)
    reference = FileReference.parse(result.get(timeout=RECOVERY_SECONDS))
    _check(fragile, from_agent.agent, reference)
    assert fragile.objects(from_agent.agent) == [reference.path]
    back = fragile.spool / "back.txt"
    from_agent.download(reference, back).get(timeout=RECOVERY_SECONDS)
    assert filecmp.cmp(words, back, shallow=False)
    back.unlink()


@pytest.mark.parametrize("victim", [*IN_THE_MIDDLE, "worker's child"])
def test_a_compressed_copy_survives_the_kill_of(
    fragile: Deployment, from_agent: Sender, words: Path, victim: str
) -> None:
    """Two tasks wait for it; each gets its result, and the copy is stored once."""
    stored = FileReference.parse(from_agent.upload(words).get(timeout=RECOVERY_SECONDS))
    sent = [
        transfer.compress.s(stored).apply_async(headers=from_agent.headers),
        transfer.compress.s(stored).apply_async(headers=from_agent.headers),
    ]
    held = "SELECT 1 FROM argosy.derivatives WHERE lease_until > now()"
    until(lambda: fragile.query(held), what="a copy in the making")
    until(lambda: fragile.unfinished_uploads(from_agent.agent), what="an upload that was begun")
    if victim == "worker's child":
        _kill_holder(fragile, "derivatives")
    else:
        VICTIMS[victim](fragile)
    one, two = (FileReference.parse(result.get(timeout=RECOVERY_SECONDS)) for result in sent)
    assert one == two
    _check(fragile, from_agent.agent, one)
    assert fragile.objects(from_agent.agent) == sorted([stored.path, one.path])
