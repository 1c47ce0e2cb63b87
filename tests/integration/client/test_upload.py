"""`upload_file`: whatever the file is given as, Storage has its bytes and the fleet its name."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import pytest

from argosy import Client, Error, FileReference, Subscriber, UploadOptions
from argosy.errors import (
    AccessDenied,
    BucketNotFound,
    InvalidRequest,
    SourceMissing,
    SourceNotAFile,
    SourceUnreadable,
)
from tests.deployment import AgentInTest, Deployment

from .conftest import MakeClient, settings_of

MIB = 1024 * 1024
IN_PARTS = {"chunk_threshold": 6 * MIB, "part_size": 5 * MIB, "progress_seconds": 0}
SIZE = 12 * MIB + 345


class Heard(Subscriber):
    """What a subscriber is told."""

    def __init__(self) -> None:
        self.queued: list[tuple[str, str, int | None]] = []
        self.progress: list[tuple[int, int | None]] = []
        self.done: list[Any] = []
        self.errors: list[Error] = []

    def on_queued(self, transfer_id: str, name: str, bytes_total: int | None) -> None:
        self.queued.append((transfer_id, name, bytes_total))

    def on_progress(
        self, bytes_done: int, bytes_total: int | None, rate: float, eta: float | None
    ) -> None:
        assert rate >= 0
        self.progress.append((bytes_done, bytes_total))

    def on_done(self, result: Any) -> None:
        self.done.append(result)

    def on_error(self, error: Error) -> None:
        self.errors.append(error)

    def check_exact(self, reference: FileReference) -> None:
        """One beginning, no step back, the last byte, one end."""
        [(transfer_id, name, _)] = self.queued
        assert (transfer_id, name) == (str(reference.id), reference.name)
        counts = [done for done, _ in self.progress]
        assert counts == sorted(counts)
        assert self.progress[-1] == (reference.size, reference.size)
        assert (self.done, self.errors) == ([reference], [])


def stored_bytes(client: Client, reference: FileReference) -> bytes:
    return b"".join(client._account.store().get(reference.bucket, reference.path))


def check_stored(client: Client, reference: FileReference, content: bytes) -> None:
    """Storage has the bytes, and says what they are; the reference does too."""
    assert stored_bytes(client, reference) == content
    assert reference.size == len(content)
    assert reference.sha256 == hashlib.sha256(content).hexdigest()
    assert reference.md5 == hashlib.md5(content).hexdigest()
    head = client._account.store().head(reference.bucket, reference.path)
    assert head.metadata["sha256"] == reference.sha256
    assert head.metadata["name"] == reference.name
    assert head.content_type == reference.content_type


def check_nothing_left(deployment: Deployment, client: Client, agent: AgentInTest) -> None:
    assert deployment.objects(agent) == []
    assert deployment.unfinished_uploads(agent) == []
    assert journals(client) == []


def journals(client: Client) -> list[Path]:
    folder = client.settings.journal_dir
    return list(folder.iterdir()) if folder and folder.exists() else []


@pytest.fixture(scope="module")
def shared(
    deployment: Deployment, shared_agent: AgentInTest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """The same, for tests that do not mind what others stored."""
    settings = settings_of(deployment, shared_agent, tmp_path_factory.mktemp("shared"))
    settings = settings.model_copy(update=IN_PARTS)
    with Client(settings, agent=shared_agent.name, key=shared_agent.key) as made:
        yield made


def _path(path: Path) -> Any:
    return path


def _text(path: Path) -> Any:
    return str(path)


def _bytes(path: Path) -> Any:
    return path.read_bytes()


def _view(path: Path) -> Any:
    return memoryview(bytearray(path.read_bytes()))


def _file(path: Path) -> Any:
    return path.open("rb")


def _raw(path: Path) -> Any:
    return path.open("rb", buffering=0)


def _memory(path: Path) -> Any:
    return io.BytesIO(path.read_bytes())


GIVEN = [_path, _text, _bytes, _view, _file, _raw, _memory]


@pytest.mark.parametrize("given", GIVEN)
def test_whatever_it_is_given_as(
    shared: Client, tmp_path: Path, given: Callable[[Path], Any]
) -> None:
    path = tmp_path / "a file.txt"
    for size, parts in ((0, 1), (1, 1), (SIZE, 3)):
        content, heard = os.urandom(size), Heard()
        path.write_bytes(content)
        options = UploadOptions(name="Bericht №1.txt", subscribers=(heard,))
        reference = shared.upload_file(given(path), options=options)
        check_stored(shared, reference, content)
        heard.check_exact(reference)
        assert (reference.chunk_count, reference.content_type) == (parts, "text/plain")
        assert reference.owner == shared.agent_id
        assert reference.expires_at is not None
        assert journals(shared) == []


def test_the_fleet_knows_it(
    client: Client, other: Client, deployment: Deployment, tmp_path: Path
) -> None:
    path = tmp_path / "for others.bin"
    path.write_bytes(b"cargo")
    [friend] = deployment.query("SELECT name FROM argosy.agents WHERE id = :id", id=other.agent_id)
    reference = client.upload_file(
        path, {"purpose": "Tëst", "step-2": ""}, options=UploadOptions(share_with=(friend.name,))
    )
    row = deployment.transfer(str(reference.id))
    assert (row.state, row.kind, row.sha256) == ("completed", "upload", reference.sha256)
    assert FileReference.parse(row.reference or {}) == reference
    assert reference.metadata == {"purpose": "Tëst", "step-2": ""}
    assert reference.grants
    assert stored_bytes(other, reference) == b"cargo"


def test_a_file_is_kept_in_the_other_bucket(shared: Client) -> None:
    bucket = shared.settings.persistent_bucket
    reference = shared.upload_file(b"for good", options=UploadOptions(bucket=bucket))
    check_stored(shared, reference, b"for good")
    assert (reference.bucket, reference.expires_at, reference.name) == (bucket, None, "file")


@pytest.mark.parametrize("start", [3, SIZE - 7, SIZE])
def test_a_file_object_is_read_from_where_it_stands(
    shared: Client, tmp_path: Path, start: int
) -> None:
    path, content = tmp_path / "data.bin", os.urandom(SIZE)
    path.write_bytes(content)
    with path.open("rb") as file:
        file.seek(start)
        reference = shared.upload_file(file)
        assert file.tell() == start
    check_stored(shared, reference, content[start:])
    assert reference.name == "data.bin"


def _temporary(content: bytes) -> BinaryIO:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115  for the test to close
    file.write(content)  # still in its buffer
    file.seek(0)
    return file  # type: ignore[return-value]


def _appended(content: bytes) -> BinaryIO:
    file = tempfile.TemporaryFile()  # noqa: SIM115  for the test to close
    file.write(content[:-1])
    file.flush()
    file.seek(0)
    file.seek(len(content) - 1)
    file.write(content[-1:])
    file.seek(0)
    return file  # type: ignore[return-value]


def _unpacking(content: bytes) -> BinaryIO:
    packed = tempfile.TemporaryFile()  # noqa: SIM115  for the test to close
    with gzip.open(packed, "wb", compresslevel=1) as writer:
        writer.write(content)
    packed.seek(0)
    return gzip.open(packed, "rb")  # type: ignore[return-value]


def _pipe(content: bytes) -> BinaryIO:
    out, into = os.pipe()
    os.write(into, content)
    os.close(into)
    return os.fdopen(out, "rb")


def _socket(content: bytes) -> BinaryIO:
    ours, theirs = socket.socketpair()
    theirs.sendall(content)
    theirs.close()
    return ours.makefile("rb")


@pytest.mark.parametrize("made", [_temporary, _appended, _unpacking, _pipe, _socket])
def test_a_file_object_gives_what_reading_it_gives(
    shared: Client, made: Callable[[bytes], BinaryIO]
) -> None:
    content = b"what one reads" * 1000
    with made(content) as file:
        reference = shared.upload_file(file, options=UploadOptions(name="x"))
    check_stored(shared, reference, content)


def test_a_file_object_that_hides_its_size(shared: Client) -> None:
    version = Path("/proc/version")
    with version.open("rb") as file:
        reference = shared.upload_file(file)
    check_stored(shared, reference, version.read_bytes())


def test_a_link_is_followed(shared: Client, tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_bytes(b"1,2")
    (tmp_path / "link").symlink_to("real.csv")
    reference = shared.upload_file(tmp_path / "link")
    assert (reference.name, reference.content_type) == ("real.csv", "text/csv")


def test_a_name_that_is_no_text(shared: Client, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.bin"
    Path(os.fsdecode(path)).write_bytes(b"x")
    reference = shared.upload_file(os.fsdecode(path))
    assert reference.name == "caf?.bin"
    check_stored(shared, reference, b"x")


def _folder(folder: Path) -> Path:
    return folder


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "fifo")
    return folder / "fifo"


def _listening(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "s"))
    return folder / "s"


BAD_SOURCES: list[tuple[Callable[[Path], Any], type[Error]]] = [
    (lambda folder: folder / "missing.bin", SourceMissing),
    (lambda folder: "nul\0.bin", SourceMissing),
    (_folder, SourceNotAFile),
    (_fifo, SourceNotAFile),
    (_listening, SourceNotAFile),
    (lambda folder: "/dev/zero", SourceNotAFile),
    (lambda folder: Path("/proc/version"), SourceNotAFile),  # a regular file of 0 bytes, it says
    (lambda folder: folder / ("x" * 300), SourceUnreadable),
    (lambda folder: io.StringIO("text"), InvalidRequest),
    (lambda folder: 7, InvalidRequest),
    (lambda folder: {"schema": "argosy.file/v1"}, InvalidRequest),
]


@pytest.fixture(scope="module")
def idle(
    deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Client, AgentInTest]]:
    """A client that uploads nothing: what it is asked for is wrong."""
    agent = deployment.add_agent()
    settings = settings_of(deployment, agent, tmp_path_factory.mktemp("idle"))
    settings = settings.model_copy(update=IN_PARTS)
    with Client(settings, agent=agent.name, key=agent.key) as made:
        yield made, agent


@pytest.mark.parametrize(("made", "error"), BAD_SOURCES)
def test_what_cannot_be_sent(
    idle: tuple[Client, AgentInTest],
    deployment: Deployment,
    tmp_path: Path,
    made: Callable[[Path], Any],
    error: type[Error],
) -> None:
    client, agent = idle
    heard, file = Heard(), made(tmp_path)
    with pytest.raises(error) as caught:
        client.upload_file(file, options=UploadOptions(subscribers=(heard,)))
    if isinstance(file, Path):
        assert str(file) in caught.value.message
    assert heard.errors == [caught.value]
    check_nothing_left(deployment, client, agent)


@pytest.mark.parametrize(
    ("metadata", "options", "error"),
    [
        ({"Upper": "x"}, {}, InvalidRequest),
        ({"under_score": "x"}, {}, InvalidRequest),
        ({"x": "y" * 9000}, {}, InvalidRequest),
        ({"x": "a\0b"}, {}, InvalidRequest),
        ({"x": 7}, {}, InvalidRequest),
        ({}, {"name": "a/b"}, InvalidRequest),
        ({}, {"name": "x" * 2000}, InvalidRequest),
        ({}, {"name": "half \ud800"}, InvalidRequest),
        ({}, {"content_type": "no type"}, InvalidRequest),
        ({}, {"bucket": "../x"}, InvalidRequest),
        ({}, {"bucket": "nobodys"}, BucketNotFound),
        ({}, {"idempotency_key": "once"}, InvalidRequest),
    ],
)
def test_what_cannot_be_said_of_it(
    idle: tuple[Client, AgentInTest],
    deployment: Deployment,
    tmp_path: Path,
    metadata: dict[str, str],
    options: dict[str, Any],
    error: type[Error],
) -> None:
    (client, agent), path = idle, tmp_path / "large.bin"
    path.write_bytes(bytes(SIZE))
    for file in (path, b"small"):
        with pytest.raises(error):
            client.upload_file(file, metadata, options=UploadOptions(**options))
        check_nothing_left(deployment, client, agent)


@pytest.mark.parametrize("size", [10, SIZE])
def test_who_may_not_write_leaves_nothing(
    make_client: MakeClient, deployment: Deployment, tmp_path: Path, size: int
) -> None:
    reader = deployment.add_agent("reader")
    client, path = make_client(reader, **IN_PARTS), tmp_path / "x.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(AccessDenied) as caught:
        client.upload_file(path)
    assert caught.value.transfer_id
    check_nothing_left(deployment, client, reader)


def test_a_subscriber_that_raises_is_logged_once(
    shared: Client, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Heard):
        def on_queued(self, *arguments: Any) -> None:
            raise RuntimeError("on_queued")

        def on_progress(self, *arguments: Any) -> None:
            raise RuntimeError("on_progress")

    heard, content = Heard(), os.urandom(SIZE)
    options = UploadOptions(subscribers=(Broken(), heard))
    reference = shared.upload_file(content, options=options)
    check_stored(shared, reference, content)
    heard.check_exact(reference)
    assert [record.message for record in caplog.records].count("subscriber.failed") == 1


def test_the_journal_holds_no_secret(
    shared: Client, tmp_path: Path, shared_agent: AgentInTest
) -> None:
    said: list[str] = []

    class Reading(Subscriber):
        def on_progress(self, *arguments: Any) -> None:
            said.extend(path.read_text() for path in journals(shared))

    path = tmp_path / "large.bin"
    path.write_bytes(bytes(SIZE))
    options = UploadOptions(subscribers=(Reading(),))
    reference = shared.upload_file(path, options=options)
    assert said
    assert UUID(json.loads(said[-1].splitlines()[0])["header"]["wanted"]["id"]) == reference.id
    assert shared_agent.key not in said[-1]
    assert "eyJ" not in said[-1]
