"""`upload_file` where what it remembers, or what it has read, is not how things are."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from argosy import Client, FileReference
from argosy.direct.journal import Journal
from argosy.direct.upload import _Upload
from argosy.errors import ChecksumMismatch, FleetUnavailable, SourceChanged
from argosy.fleet import Fleet
from tests.deployment import AgentInTest, Deployment

from .conftest import MakeClient
from .test_upload import IN_PARTS, SIZE, check_nothing_left, check_stored, stored_bytes

WAIT = 60


@pytest.fixture
def client(make_client: MakeClient, agent: AgentInTest) -> Client:
    """One for which 12 MiB are three parts, sent one by one."""
    return make_client(agent, parallel=1, **IN_PARTS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "cargo.bin"
    made.write_bytes(os.urandom(SIZE))
    return made


class PowerCut:
    """A disk that has the journal as it was before the line of what is stored, as after a cut."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._kept: dict[Path, bytes] = {}
        amend = Journal.amend

        def before(journal: Journal, **facts: object) -> None:
            assert journal._path
            self._kept[journal._path] = journal._path.read_bytes()
            amend(journal, **facts)

        monkeypatch.setattr(Journal, "amend", before)

    def befall(self) -> None:
        """Have the disk show what it has."""
        for path, content in self._kept.items():
            path.write_bytes(content)
            path.chmod(0o600)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> PowerCut:
    return PowerCut(monkeypatch)


@pytest.mark.parametrize("size", [SIZE, 5_000_000], ids=["in parts", "whole"])
def test_what_the_fleet_knows_outlives_its_journal(
    client: Client, cut: PowerCut, path: Path, size: int
) -> None:
    monday = os.urandom(size)
    path.write_bytes(monday)
    before = client.upload_file(path)
    cut.befall()
    path.write_bytes(os.urandom(size))
    after = client.upload_file(path)
    assert after.id != before.id
    check_stored(client, after, path.read_bytes())
    check_stored(client, before, monday)


def test_nor_does_a_later_failure_take_it(
    client: Client, cut: PowerCut, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file again: the second call goes on with the first one's transfer, and fails."""
    before = client.upload_file(path)
    cut.befall()

    def fail(*_: object) -> str:
        raise ChecksumMismatch("not what was sent")

    with monkeypatch.context() as patched:
        patched.setattr(_Upload, "_verified", fail)
        with pytest.raises(ChecksumMismatch) as caught:
            client.upload_file(path)
    assert caught.value.transfer_id == str(before.id)
    check_stored(client, before, path.read_bytes())


def test_what_nobody_was_told_of_goes(
    client: Client,
    cut: PowerCut,
    path: Path,
    deployment: Deployment,
    agent: AgentInTest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stored, and the power fails before the fleet hears of it: an object that nobody knows."""
    with monkeypatch.context() as patched:
        patched.setattr("argosy.direct.upload.register", _no_power)
        with pytest.raises(KeyboardInterrupt):
            client.upload_file(path)
    cut.befall()
    assert len(deployment.objects(agent)) == 1
    path.write_bytes(os.urandom(SIZE))
    reference = client.upload_file(path)
    assert deployment.objects(agent) == [reference.path]


def _no_power(*_: object) -> FileReference:
    raise KeyboardInterrupt


def test_while_the_fleet_cannot_be_asked_it_stays(
    client: Client, cut: PowerCut, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monday = path.read_bytes()
    before = client.upload_file(path)
    cut.befall()
    path.write_bytes(os.urandom(SIZE))
    ask = Fleet.ask

    def away(fleet: Fleet, verb: str, *words: object, **options: object) -> object:
        if verb == "status":
            raise FleetUnavailable("away")
        return ask(fleet, verb, *words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Fleet, "ask", away)
    client.upload_file(path)
    assert stored_bytes(client, before) == monday


# A file that somebody has mapped into memory


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A file on a file system whose times do not tell of what is written through a mapping."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "mapped.bin"
        path.write_bytes(os.urandom(SIZE))
        yield path


def test_what_is_written_through_a_mapping(
    client: Client,
    in_memory: Path,
    deployment: Deployment,
    agent: AgentInTest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = in_memory.stat()
    hashed, digest, send = Event(), _Upload._digest, _Upload._send_part

    def digest_first(upload: _Upload, *rest: object) -> object:
        try:
            return digest(upload, *rest)  # type: ignore[arg-type]
        finally:
            hashed.set()

    with in_memory.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:

        def write_and_send(upload: _Upload, *rest: object) -> None:
            assert hashed.wait(WAIT)
            mapping[SIZE - 1] ^= 1
            send(upload, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(_Upload, "_digest", digest_first)
        monkeypatch.setattr(_Upload, "_send_part", write_and_send)
        with pytest.raises(SourceChanged, match="something wrote to them") as caught:
            client.upload_file(in_memory)
    assert str(in_memory) in caught.value.message
    assert in_memory.stat().st_mtime_ns == before.st_mtime_ns
    check_nothing_left(deployment, client, agent)
