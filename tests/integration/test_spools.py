"""Two hosts without a folder in common: work finds the host that has the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from argosy import FileReference
from argosy.errors import ChecksumMismatch, SourceOutsideSpool
from tasks import transfer
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import Deployment, remote, until

pytestmark = pytest.mark.skipif(remote(), reason="its workers have folders of their own")

PARTS = {"ARGOSY_CHUNK_THRESHOLD": str(6 * MB), "ARGOSY_PART_SIZE": str(5 * 1024 * 1024)}
BYTES = "argosy.chunks,argosy.chunks.urgent,argosy.chunks.bulk,argosy.finish"
REST = "argosy.requests,argosy.control,argosy.upkeep"
SIZES = [0, MB, 23 * MB]


@dataclass
class Hosts:
    """A fleet on hosts `a` and `b`, and one that has no file to move."""

    deployment: Deployment
    folders: dict[str, Path]

    def start(self, name: str, queues: str = BYTES) -> None:
        """Start a host's worker. It may open nothing outside the host's own spool."""
        spool = str(self.folders[name])
        self.deployment.start_worker(f"host-{name}", 2, "--queues", queues, ARGOSY_SPOOL=spool)

    def file(self, name: str, size: int) -> Path:
        """A new file on a host."""
        path = self.folders[name] / os.urandom(4).hex()
        path.write_bytes(os.urandom(size))
        return path

    def workers(self, transfer_id: str) -> set[str]:
        """Who has planned, moved and put together a transfer."""
        rows = [self.deployment.transfer(transfer_id), *self.deployment.chunks(transfer_id)]
        return {row.worker.partition("@")[0] for row in rows}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    data = tmp_path_factory.mktemp("hosts")
    folders = {name: data / name for name in ("a", "b", "office")}
    for folder in folders.values():
        folder.mkdir()
    spools = ",".join(f"{name}={folder}" for name, folder in folders.items())
    deployment = Deployment(data / "stack", {**PARTS, "ARGOSY_SPOOLS": spools})
    with ExitStack() as stack:
        stack.callback(deployment.stop)
        deployment.start()
        deployment.app.set_current()
        made = Hosts(deployment, folders)
        made.start("a")
        made.start("b")
        made.start("office", REST)
        deployment.start_beat()
        yield made


@pytest.fixture
def sender(hosts: Hosts) -> Sender:
    hosts.deployment.app.set_current()
    return Sender(hosts.deployment.add_agent())


def _upload(sender: Sender, path: Path) -> FileReference:
    return FileReference.parse(sender.upload(path).get(timeout=RESULT_SECONDS))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("here", "there"), [("a", "b"), ("b", "a"), ("b", "b")])
def test_from_host_to_host(hosts: Hosts, sender: Sender, here: str, there: str, size: int) -> None:
    source = hosts.file(here, size)
    sent = sender.upload(source)
    reference = FileReference.parse(sent.get(timeout=RESULT_SECONDS))
    destination = hosts.folders[there] / f"{source.name}.copy"
    fetched = sender.download(reference, destination)
    assert fetched.get(timeout=RESULT_SECONDS) == str(destination)
    assert destination.read_bytes() == source.read_bytes()
    ledgers = [hosts.deployment.chunks(one.id) for one in (sent, fetched)]
    for host, ledger in zip((here, there), ledgers, strict=True):
        assert {row.worker.partition("@")[0] for row in ledger} <= {f"host-{host}"}
    assert hosts.workers(fetched.id) == {f"host-{there}"}


def test_what_has_a_host_that_is_away_waits_for_it(hosts: Hosts, sender: Sender) -> None:
    hosts.deployment.stack_of("host-a").kill()
    waits = sender.upload(hosts.file("a", 23 * MB))
    for _ in range(3):
        _upload(sender, hosts.file("b", MB))
    assert not waits.ready()
    hosts.start("a")
    FileReference.parse(waits.get(timeout=RESULT_SECONDS))


def test_nothing_of_a_failed_download_is_left(hosts: Hosts, sender: Sender) -> None:
    reference = _upload(sender, hosts.file("a", 7 * MB))
    wrong = reference.model_copy(update={"sha256": "0" * 64})
    failures = [sender.download(wrong, hosts.folders["b"] / f"wrong{n}") for n in range(4)]
    for one in failures:
        with pytest.raises(ChecksumMismatch):
            one.get(timeout=RESULT_SECONDS)
    folder = hosts.folders["b"]
    until(lambda: not list(folder.glob(".argosy-*")), what="the partial files' end")
    assert not list(folder.glob("wrong*"))


def test_what_needs_no_spool_is_done_by_anybody(hosts: Hosts, sender: Sender) -> None:
    reference = _upload(sender, hosts.file("a", 7 * MB))
    copied = transfer.copy.apply_async((reference,), {"name": "copy"}, headers=sender.headers)
    copy = FileReference.parse(copied.get(timeout=RESULT_SECONDS))
    assert copy.sha256 == reference.sha256


def test_a_path_in_nobodys_spool(hosts: Hosts, sender: Sender, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere"
    path.write_bytes(b"x")
    with pytest.raises(SourceOutsideSpool):
        sender.upload(path).get(timeout=RESULT_SECONDS)
