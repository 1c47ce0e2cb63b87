"""Bad input through the real fleet: one typed error, in the row, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from celery.result import AsyncResult
from sqlalchemy import text
from sqlalchemy.orm import Session

from argosy import FileReference, errors
from argosy.auth import TOKEN_HEADER
from argosy.tokens import AUDIENCE
from models import Role, Transfer
from tasks.messages import REQUESTS
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, until
from worker.agents import add_agent

ROOT = os.geteuid() == 0
HUGE = 400 * MB
"""Long enough on its way that a test can meddle with it."""


@pytest.fixture
def agent(deployment: Deployment) -> AgentInTest:
    """As conftest's, without a process for each: there are many tests here."""
    return new_agent(deployment)


def new_agent(deployment: Deployment, role: Role = Role.WORKER) -> AgentInTest:
    """An agent of its own, made in this process."""
    made = add_agent(deployment.settings, f"test-{uuid4().hex[:12]}", role)
    return AgentInTest(made.id, made.name, made.key, deployment.settings)


class Failures:
    """Looks at what became of a request that had to fail."""

    def __init__(self, deployment: Deployment, sender: Sender, spool: Path) -> None:
        self._deployment = deployment
        self._sender = sender
        self._spool = spool

    def of(self, result: AsyncResult, *kinds: type[errors.Error]) -> errors.Error:
        """The request failed so, its row and the events say so, and nothing is left of it."""
        with pytest.raises(kinds) as caught:
            result.get(timeout=RESULT_SECONDS)
        kind = type(caught.value)
        assert kind in kinds
        assert caught.value.message
        row = until(lambda: self._cleaned(result.id), what="the cleaning up")
        assert (row.state, row.error_code) == ("failed", kind.code)
        assert row.error_message == caught.value.message
        self.is_in_the_events(result.id)
        self.nothing_is_left()
        return caught.value

    def refused(self, result: AsyncResult, *kinds: type[errors.Error]) -> errors.Error:
        """The request was refused at the door: no row, but an event."""
        with pytest.raises(errors.Error) as caught:
            result.get(timeout=RESULT_SECONDS)
        kind = type(caught.value)
        assert kind in kinds
        assert caught.value.message
        assert not self._rows(result.id)
        assert _refusals(self._deployment, result.id) == [kind.code]
        self.nothing_is_left()
        return caught.value

    def is_in_the_events(self, transfer_id: str) -> None:
        rows = self._deployment.query(
            "SELECT name, to_state FROM argosy.events WHERE transfer_id = :id", id=transfer_id
        )
        assert ("transfer.failed", "failed") in [(row.name, row.to_state) for row in rows]
        assert "transfer.cleaned" in [row.name for row in rows]

    def nothing_is_left(self) -> None:
        assert self._deployment.objects(self._sender.agent) == []
        assert self._deployment.unfinished_uploads(self._sender.agent) == []
        assert not list(self._spool.rglob(".argosy-*"))

    def _cleaned(self, transfer_id: str) -> Transfer | None:
        row = self._deployment.transfer(transfer_id)
        return row if row.cleaned_at else None

    def _rows(self, transfer_id: str) -> list[Any]:
        found = "SELECT id FROM argosy.transfers WHERE CAST(id AS text) = :id"
        return self._deployment.query(found, id=transfer_id)


def _refusals(deployment: Deployment, task_id: str) -> list[str]:
    rows = deployment.query(
        "SELECT reason AS code FROM argosy.events "
        "WHERE name = 'request.refused' AND strpos(request_id, :id) > 0",
        id=task_id,
    )
    return [row.code for row in rows]


@pytest.fixture
def failures(deployment: Deployment, sender: Sender, spool: Path) -> Failures:
    return Failures(deployment, sender, spool)


def raw(
    deployment: Deployment,
    task: str,
    *arguments: Any,
    headers: dict[str, Any],
    task_id: str | None = None,
    **named: Any,
) -> AsyncResult:
    """A request of an agent that has none of this code."""
    return deployment.app.send_task(
        task,
        arguments,
        named,
        headers=headers,
        task_id=task_id,
        exchange=REQUESTS,
        routing_key=REQUESTS,
    )


# The file to send


def _missing(spool: Path) -> Path:
    return spool / "not-there.bin"


def _folder_missing(spool: Path) -> Path:
    return spool / "no-folder" / "file.bin"


def _directory(spool: Path) -> Path:
    (spool / "folder").mkdir()
    return spool / "folder"


def _device(spool: Path) -> Path:
    if not ROOT:
        pytest.skip("only root makes device nodes")
    os.mknod(spool / "zero", 0o666 | 0o020000, os.makedev(1, 5))
    return spool / "zero"


def _fifo(spool: Path) -> Path:
    os.mkfifo(spool / "pipe")
    return spool / "pipe"


def _socket(spool: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(spool)  # a socket's path is at most 107 bytes
        try:
            made.bind("socket")
        finally:
            os.chdir(here)
    return spool / "socket"


def _outside(_spool: Path) -> Path:
    return Path("/etc/passwd")


def _outside_device(_spool: Path) -> Path:
    return Path("/dev/zero")


def _dot_dot(spool: Path) -> str:
    (spool / "folder").mkdir()
    return f"{spool}/folder/../../secrets.json"


def _spool_itself(spool: Path) -> Path:
    return spool


def _neighbour(spool: Path) -> Path:
    """Begins with the spool's path, as text, and is not in it."""
    return Path(f"{spool}-neighbour") / "file.bin"


def _symlink(spool: Path) -> Path:
    (spool / "link").symlink_to("/etc/passwd")
    return spool / "link"


def _symlink_inside(spool: Path) -> Path:
    (spool / "real.bin").write_bytes(b"inside as well")
    (spool / "link").symlink_to(spool / "real.bin")
    return spool / "link"


def _symlink_to_device(spool: Path) -> Path:
    (spool / "link").symlink_to("/dev/zero")
    return spool / "link"


def _symlinked_folder(spool: Path) -> Path:
    (spool / "folder").symlink_to("/etc")
    return spool / "folder" / "passwd"


def _file_as_folder(spool: Path) -> Path:
    (spool / "file.bin").write_bytes(b"no folder")
    return spool / "file.bin" / "inner.bin"


SOURCES: list[tuple[Callable[[Path], Path | str], type[errors.Error]]] = [
    (_missing, errors.SourceMissing),
    (_folder_missing, errors.SourceMissing),
    (_directory, errors.SourceNotAFile),
    (_device, errors.SourceNotAFile),
    (_fifo, errors.SourceNotAFile),
    (_socket, errors.SourceNotAFile),
    (_outside, errors.SourceOutsideSpool),
    (_outside_device, errors.SourceOutsideSpool),
    (_dot_dot, errors.SourceOutsideSpool),
    (_spool_itself, errors.SourceOutsideSpool),
    (_neighbour, errors.SourceOutsideSpool),
    (_symlink, errors.SourceOutsideSpool),
    (_symlink_inside, errors.SourceOutsideSpool),
    (_symlink_to_device, errors.SourceOutsideSpool),
    (_symlinked_folder, errors.SourceOutsideSpool),
    (_file_as_folder, errors.SourceOutsideSpool),
]


@pytest.mark.parametrize(("make", "kind"), SOURCES, ids=lambda value: value.__name__)
def test_a_source_that_is_no_file_of_the_spool(
    sender: Sender,
    failures: Failures,
    spool: Path,
    make: Callable[[Path], Path | str],
    kind: type[errors.Error],
) -> None:
    source = str(make(spool))
    error = failures.of(sender.upload(source), kind)
    assert source in error.message


@pytest.fixture
def mounts() -> Iterator[Callable[..., None]]:
    """Mounts something until the end of the test."""
    made: list[Path] = []

    def mount(where: Path, *arguments: str) -> None:
        if not ROOT:
            pytest.skip("only root mounts file systems")
        done = subprocess.run(
            ["mount", *arguments, str(where)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"this machine refuses to mount: {done.stderr.strip()}")
        made.append(where)

    yield mount
    for where in reversed(made):
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def test_an_unreadable_file(
    sender: Sender, failures: Failures, spool: Path, mounts: Callable[..., None]
) -> None:
    source = spool / "secret.bin"
    source.write_bytes(b"not for you")
    source.chmod(0)
    if ROOT:  # whom no mode stops; but this file of the kernel's can only be written
        mounts(source, "--bind", "/proc/sys/vm/compact_memory")
    failures.of(sender.upload(source), errors.SourceUnreadable)


def test_a_name_too_long_for_a_disk(sender: Sender, failures: Failures, spool: Path) -> None:
    failures.of(sender.upload(spool / ("n" * 300)), errors.SourceUnreadable)


# A file that changes underneath


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _cut(path: Path) -> None:
    os.truncate(path, HUGE // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _write_inside(path: Path) -> None:
    """The same size, and the time of the last write set back: only ctime tells."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(HUGE - 1000)
        file.write(b"other bytes")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def _replace(path: Path) -> None:
    other = path.with_name("other.bin")
    with other.open("wb") as file:  # to copy it would take longer than to upload it
        file.truncate(path.stat().st_size)
    shutil.copystat(path, other)
    other.replace(path)


def _swap_for_a_symlink(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def _remove(path: Path) -> None:
    path.unlink()


CHANGES: list[tuple[Callable[[Path], None], tuple[type[errors.Error], ...]]] = [
    (_append, (errors.SourceChanged,)),
    (_cut, (errors.SourceChanged,)),
    (_empty, (errors.SourceChanged,)),
    (_write_inside, (errors.SourceChanged,)),
    (_replace, (errors.SourceChanged,)),
    # Whoever has it open sees a change, whoever opens it next sees what is there now.
    (_swap_for_a_symlink, (errors.SourceOutsideSpool, errors.SourceChanged, errors.SourceMissing)),
    (_remove, (errors.SourceMissing, errors.SourceChanged)),
]


@pytest.mark.parametrize(
    ("change", "kinds"), CHANGES, ids=[change.__name__ for change, _ in CHANGES]
)
def test_a_file_that_changes_while_it_is_read(
    deployment: Deployment,
    sender: Sender,
    failures: Failures,
    spool: Path,
    change: Callable[[Path], None],
    kinds: tuple[type[errors.Error], ...],
) -> None:
    source = spool / "cargo.bin"
    with source.open("wb") as file:
        file.truncate(HUGE)  # sparse: the bytes do not matter here
    uploaded = sender.upload(source)
    until(lambda: _moving(deployment, uploaded.id), what="the moving")
    change(source)
    failures.of(uploaded, *kinds)


def _moving(deployment: Deployment, transfer_id: str) -> bool:
    """Some parts are stored; the rest takes a while."""
    rows = deployment.query(
        "SELECT count(*) FILTER (WHERE state = 'stored') AS stored, "
        "count(*) FILTER (WHERE state = 'waiting') AS waiting "
        "FROM argosy.chunks WHERE transfer_id = :id",
        id=transfer_id,
    )
    if rows[0].stored and not rows[0].waiting:
        raise AssertionError("too late: everything is on its way already")
    return bool(rows[0].stored)


# Names


NAMES = [
    "n" * 300,
    "n" * 295 + ".txt",
    "日本語のファイル.pdf",
    "😀👩‍👩‍👧‍👦.png",
    "ملف\u202eexe.txt",
    unicodedata.normalize("NFC", "café.txt"),
    unicodedata.normalize("NFD", "café.txt"),
    "quote\" 'and' `tick`.txt",
    "two\nlines\r\nand\ttab.txt",
    "percent %2e%2e #hash?query&a=b;c+d.txt",
    "back\\slash|pipe<tag>[x]^~{y}.txt",
    "..",
    ".",
    ".hidden",
    "  spaces around  ",
    "\x01\x1b\x7f",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_of_any_unicode_works(
    deployment: Deployment, sender: Sender, spool: Path, name: str
) -> None:
    source = deployment.make_file("cargo.bin", 1000)
    uploaded = sender.upload(source, name=name)
    reference = FileReference.parse(uploaded.get(timeout=RESULT_SECONDS))
    assert reference.name == name
    assert reference.path.isascii()
    head = deployment.query(
        "SELECT user_metadata FROM storage.objects WHERE name = :name", name=reference.path
    )
    from argosy.storage.metadata import decode_value

    assert decode_value(head[0].user_metadata["name"]) == name
    back = sender.download(reference, spool / "back.bin").get(timeout=RESULT_SECONDS)
    assert Path(back).read_bytes() == source.read_bytes()


def test_the_name_on_disk_may_be_any_unicode(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    for name in ("größe 😀.bin", "café", "new\nline", 'quo"te', " "):
        source = deployment.make_file(name, 10)
        reference = FileReference.parse(sender.upload(source).get(timeout=RESULT_SECONDS))
        assert reference.name == name


def test_a_large_file_may_have_a_long_name_too(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    name = "😀" * 300
    source = deployment.make_file("cargo.bin", 101 * MB)
    reference = FileReference.parse(sender.upload(source, name=name).get(timeout=RESULT_SECONDS))
    assert reference.name == name


# The file to write


@pytest.fixture
def stored(deployment: Deployment, shared_agent: AgentInTest) -> FileReference:
    """A small stored file, of another agent than the test's."""
    return _store(deployment, Sender(shared_agent))


def _store(deployment: Deployment, sender: Sender, size: int = 1000) -> FileReference:
    source = deployment.make_file("stored.bin", size)
    reference = FileReference.parse(sender.upload(source).get(timeout=RESULT_SECONDS))
    source.unlink()
    return reference


@pytest.fixture
def own(deployment: Deployment, sender: Sender) -> FileReference:
    """A small stored file of the test's own agent."""
    return _store(deployment, sender)


class Downloads:
    """Looks at what became of a download that had to fail; `kept` stays in storage."""

    def __init__(self, deployment: Deployment, sender: Sender, spool: Path) -> None:
        self._deployment = deployment
        self._sender = sender
        self._spool = spool

    def of(
        self, result: AsyncResult, kind: type[errors.Error], *, kept: FileReference | None = None
    ) -> errors.Error:
        with pytest.raises(kind) as caught:
            result.get(timeout=RESULT_SECONDS)
        assert type(caught.value) is kind
        row = until(lambda: self._cleaned(result.id), what="the cleaning up")
        assert (row.state, row.error_code) == ("failed", kind.code)
        names = self._deployment.query(
            "SELECT name FROM argosy.events WHERE transfer_id = :id", id=result.id
        )
        assert {"transfer.failed", "transfer.cleaned"} <= {name.name for name in names}
        assert self._deployment.objects(self._sender.agent) == ([kept.path] if kept else [])
        assert not list(self._spool.rglob(".argosy-*"))
        return caught.value

    def _cleaned(self, transfer_id: str) -> Transfer | None:
        row = self._deployment.transfer(transfer_id)
        return row if row.cleaned_at else None


@pytest.fixture
def downloads(deployment: Deployment, sender: Sender, spool: Path) -> Downloads:
    return Downloads(deployment, sender, spool)


def _taken(spool: Path) -> Path:
    (spool / "back.bin").write_bytes(b"mine")
    return spool / "back.bin"


def _taken_by_a_folder(spool: Path) -> Path:
    (spool / "back.bin").mkdir()
    return spool / "back.bin"


def _taken_by_a_dangling_link(spool: Path) -> Path:
    (spool / "back.bin").symlink_to(spool / "nowhere")
    return spool / "back.bin"


def _link_to_the_outside(spool: Path) -> Path:
    (spool / "folder").symlink_to("/tmp")
    return spool / "folder" / f"argosy-{uuid4().hex}"


def _name_too_long(spool: Path) -> Path:
    return spool / ("n" * 256)


DESTINATIONS: list[tuple[Callable[[Path], Path | str], type[errors.Error]]] = [
    (_taken, errors.DestinationExists),
    (_taken_by_a_folder, errors.DestinationExists),
    (_taken_by_a_dangling_link, errors.DestinationExists),
    (_folder_missing, errors.DestinationUnwritable),
    (_name_too_long, errors.DestinationUnwritable),
    (_outside, errors.DestinationOutsideSpool),
    (_dot_dot, errors.DestinationOutsideSpool),
    (_spool_itself, errors.DestinationOutsideSpool),
    (_link_to_the_outside, errors.DestinationOutsideSpool),
    (_file_as_folder, errors.DestinationOutsideSpool),
]


@pytest.mark.parametrize(("make", "kind"), DESTINATIONS, ids=lambda value: value.__name__)
def test_a_destination_that_cannot_be(
    sender: Sender,
    downloads: Downloads,
    own: FileReference,
    spool: Path,
    make: Callable[[Path], Path | str],
    kind: type[errors.Error],
) -> None:
    destination = str(make(spool))
    before = sorted(os.walk(spool))
    error = downloads.of(sender.download(own, destination), kind, kept=own)
    assert destination in error.message
    assert sorted(os.walk(spool)) == before


def test_a_destination_taken_while_the_bytes_arrive(
    deployment: Deployment, sender: Sender, downloads: Downloads, spool: Path
) -> None:
    own = _store(deployment, sender, HUGE)
    downloaded = sender.download(own, spool / "back.bin")
    until(lambda: _moving(deployment, downloaded.id), what="the moving")
    (spool / "back.bin").write_bytes(b"I was faster")
    downloads.of(downloaded, errors.DestinationExists, kept=own)
    assert (spool / "back.bin").read_bytes() == b"I was faster"


@pytest.mark.parametrize("size", [20 * MB, 120 * MB])
def test_a_full_disk(
    deployment: Deployment,
    sender: Sender,
    downloads: Downloads,
    spool: Path,
    mounts: Callable[..., None],
    size: int,
) -> None:
    own = _store(deployment, sender, size)
    (spool / "small").mkdir()
    mounts(spool / "small", "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    result = sender.download(own, spool / "small" / "back.bin")
    downloads.of(result, errors.DiskFull, kept=own)
    assert not list((spool / "small").iterdir())


# Storage's own limits


@pytest.fixture
def bucket(deployment: Deployment) -> Iterator[Callable[..., str]]:
    """Makes buckets with limits, the fleet's or not."""
    ours: list[str] = []

    def make(
        size_limit: int | None = None, types: list[str] | None = None, *, is_ours: bool = True
    ) -> str:
        name = f"limits-{uuid4().hex[:12]}"
        deployment.query(
            "INSERT INTO storage.buckets (id, name, file_size_limit, allowed_mime_types) "
            "VALUES (:name, :name, :size_limit, :types) RETURNING id",
            name=name,
            size_limit=size_limit,
            types=types,
        )
        if is_ours:
            ours.append(name)
            deployment.query(
                "INSERT INTO argosy.buckets (name) VALUES (:name) RETURNING name", name=name
            )
        return name

    yield make
    deployment.query(
        "DELETE FROM argosy.buckets WHERE name = ANY (:ours) RETURNING name", ours=ours
    )


@pytest.mark.parametrize("size", [1 * MB, 120 * MB])
def test_a_size_over_the_buckets_limit_is_refused_before_a_byte_is_sent(
    deployment: Deployment,
    sender: Sender,
    failures: Failures,
    bucket: Callable[..., str],
    size: int,
) -> None:
    name = bucket(size_limit=size - 1)
    source = deployment.make_file("cargo.bin", size)
    uploaded = sender.upload(source, bucket=name)
    error = failures.of(uploaded, errors.ObjectTooLarge)
    assert f"takes {size - 1}" in error.message  # our own words: storage was not asked
    row = deployment.transfer(uploaded.id)
    assert (row.upload_id, row.bytes_done, row.part_count) == (None, 0, None)
    assert not deployment.chunks(uploaded.id)


@pytest.mark.parametrize("content_type", [None, "image/png", "text/html; charset=utf-8"])
def test_a_type_that_the_bucket_does_not_take(
    deployment: Deployment,
    sender: Sender,
    failures: Failures,
    bucket: Callable[..., str],
    content_type: str | None,
) -> None:
    name = bucket(types=["text/plain", "audio/*"])
    source = deployment.make_file("cargo.bin", 100)
    uploaded = sender.upload(source, bucket=name, content_type=content_type)
    error = failures.of(uploaded, errors.TypeNotAllowed)
    assert "takes text/plain, audio/*" in error.message  # our own words: storage was not asked


def test_an_unknown_bucket(deployment: Deployment, sender: Sender, failures: Failures) -> None:
    source = deployment.make_file("cargo.bin", 100)
    failures.refused(sender.upload(source, bucket="no-such-bucket"), errors.BucketNotFound)


def test_a_bucket_that_is_not_the_fleets(
    deployment: Deployment, sender: Sender, failures: Failures, bucket: Callable[..., str]
) -> None:
    """Not told apart from one that is not there, and refused before a row is made."""
    source = deployment.make_file("cargo.bin", 100)
    foreign = bucket(is_ours=False)
    failures.refused(sender.upload(source, bucket=foreign), errors.BucketNotFound)


# References that lie


def _wrong_sum(reference: FileReference) -> dict[str, Any]:
    return {"sha256": "0" * 64}


def _wrong_size(reference: FileReference) -> dict[str, Any]:
    return {"size": reference.size + 1}


def _no_such_path(reference: FileReference) -> dict[str, Any]:
    return {"path": f"{reference.owner}/{uuid4()}/file"}


def _no_such_bucket(_: FileReference) -> dict[str, Any]:
    return {"bucket": "no-such-bucket"}


LIES: list[tuple[Callable[[FileReference], dict[str, Any]], type[errors.Error]]] = [
    (_wrong_sum, errors.ChecksumMismatch),
    (_wrong_size, errors.ChecksumMismatch),
    (_no_such_path, errors.ObjectNotFound),
    (_no_such_bucket, errors.ObjectNotFound),
]


@pytest.mark.parametrize(("lie", "kind"), LIES, ids=lambda value: value.__name__)
def test_a_reference_that_lies(
    sender: Sender,
    downloads: Downloads,
    own: FileReference,
    spool: Path,
    lie: Callable[[FileReference], dict[str, Any]],
    kind: type[errors.Error],
) -> None:
    edited = own.model_copy(update=lie(own))
    downloads.of(sender.download(edited, spool / "back.bin"), kind, kept=own)
    assert not (spool / "back.bin").exists()


def test_a_wrong_checksum_of_a_large_file(
    deployment: Deployment, sender: Sender, downloads: Downloads, spool: Path
) -> None:
    own = _store(deployment, sender, 101 * MB)
    edited = own.model_copy(update={"sha256": "f" * 64})
    downloads.of(sender.download(edited, spool / "back.bin"), errors.ChecksumMismatch, kept=own)
    assert not (spool / "back.bin").exists()


def test_a_reference_to_another_agents_object(
    sender: Sender, downloads: Downloads, stored: FileReference, spool: Path
) -> None:
    downloads.of(sender.download(stored, spool / "back.bin"), errors.ObjectNotFound)
    assert not (spool / "back.bin").exists()


def test_a_reference_edited_to_claim_another_agents_object(
    sender: Sender, downloads: Downloads, own: FileReference, stored: FileReference, spool: Path
) -> None:
    edited = own.model_copy(update={"path": stored.path})
    downloads.of(sender.download(edited, spool / "back.bin"), errors.ObjectNotFound, kept=own)
    edited = stored.model_copy(update={"owner": own.owner})
    downloads.of(sender.download(edited, spool / "back.bin"), errors.ObjectNotFound, kept=own)


@pytest.mark.parametrize(
    "path", ["../other/file", "a/../../b", "/absolute", "./here", "a//../b", "."]
)
def test_a_path_that_would_reach_something_else_on_the_way(
    sender: Sender, downloads: Downloads, own: FileReference, spool: Path, path: str
) -> None:
    edited = own.model_copy(update={"path": path})
    downloads.of(sender.download(edited, spool / "back.bin"), errors.InvalidRequest, kept=own)


# Requests that are none


def _nested(depth: int) -> Any:
    value: Any = "deep"
    for _ in range(depth):
        value = [value]
    return value


UPLOADS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "no arguments": ([], {}),
    "too many arguments": (["/a", "b", "c", "text/plain", "key", "more"], {}),
    "an argument nobody knows": (["/a"], {"compress": True}),
    "the same argument twice": (["/a"], {"source": "/a"}),
    "source is a number": ([5], {}),
    "source is nothing": ([None], {}),
    "source is a list": ([["/a"]], {}),
    "source is deeply nested": ([_nested(200)], {}),
    "source is empty": ([""], {}),
    "source is relative": (["a/b"], {}),
    "source is huge": (["/" + "a" * 1_000_000], {}),
    "source has NUL": (["/a\0b"], {}),
    "source has half a surrogate pair": (["/a\udcff"], {}),
    "bucket is a number": (["/a"], {"bucket": 5}),
    "bucket has a slash": (["/a"], {"bucket": "a/b"}),
    "bucket is dots": (["/a"], {"bucket": ".."}),
    "bucket has NUL": (["/a"], {"bucket": "a\0"}),
    "name has a slash": (["/a"], {"name": "a/b"}),
    "name has NUL": (["/a"], {"name": "a\0b"}),
    "name is empty": (["/a"], {"name": ""}),
    "name is huge": (["/a"], {"name": "a" * 1025}),
    "name is an object": (["/a"], {"name": {"x": 1}}),
    "type is no type": (["/a"], {"content_type": "nonsense"}),
    "type has a line break": (["/a"], {"content_type": "text/plain\r\nx-amz-acl: public"}),
    "key is a number": (["/a"], {"idempotency_key": 5}),
    "key is a list": (["/a"], {"idempotency_key": ["a"]}),
    "key is an object": (["/a"], {"idempotency_key": {"a": 1}}),
    "key is empty": (["/a"], {"idempotency_key": ""}),
    "key is huge": (["/a"], {"idempotency_key": "k" * 201}),
    "key has NUL": (["/a"], {"idempotency_key": "a\0b"}),
}


@pytest.mark.parametrize("case", UPLOADS)
def test_malformed_arguments_of_an_upload(
    deployment: Deployment, sender: Sender, failures: Failures, case: str
) -> None:
    arguments, named = UPLOADS[case]
    result = raw(deployment, "transfer.upload", *arguments, headers=sender.headers, **named)
    failures.refused(result, errors.InvalidRequest)


REFERENCES: dict[str, dict[str, Any]] = {
    "an unknown version": {"schema": "argosy.file/v9"},
    "no checksum": {"sha256": None},
    "a checksum that is none": {"sha256": "A" * 64},
    "a negative size": {"size": -1},
    "a size beyond any disk": {"size": 10**30},
    "a size that is text": {"size": "many"},
    "no id": {"id": "x"},
    "more than it should": {"token": "secret"},
    "a path with NUL": {"path": "a\0b"},
    "a name with NUL": {"name": "a\0b"},
    "metadata with NUL": {"metadata": {"a": "\0"}},
    "a huge path": {"path": "a" * 1025},
    "derivatives nested deeply": {"derivatives": [{"a": _nested(200)}]},
}


@pytest.mark.parametrize("case", REFERENCES)
def test_malformed_references(
    deployment: Deployment, sender: Sender, failures: Failures, spool: Path, case: str
) -> None:
    document = {**_any_reference(sender.agent.id).document(), **REFERENCES[case]}
    target = str(spool / "back.bin")
    result = raw(deployment, "transfer.download", document, target, headers=sender.headers)
    if case == "derivatives nested deeply":  # strange, but one: then there is no such object
        with pytest.raises(errors.Error):
            result.get(timeout=RESULT_SECONDS)
    else:
        failures.refused(result, errors.InvalidReference)


def test_a_reference_with_a_nul_deep_inside(
    deployment: Deployment, sender: Sender, failures: Failures, spool: Path
) -> None:
    document = {**_any_reference(sender.agent.id).document(), "derivatives": [{"a": ["\0"]}]}
    target = str(spool / "back.bin")
    result = raw(deployment, "transfer.download", document, target, headers=sender.headers)
    failures.refused(result, errors.InvalidReference, errors.InvalidRequest)


@pytest.mark.parametrize("reference", [None, 5, "text", [], {}, [{}]], ids=repr)
def test_a_reference_that_is_none(
    deployment: Deployment, sender: Sender, failures: Failures, spool: Path, reference: Any
) -> None:
    target = str(spool / "back.bin")
    result = raw(deployment, "transfer.download", reference, target, headers=sender.headers)
    failures.refused(result, errors.InvalidReference)


def _any_reference(owner: UUID) -> FileReference:
    return FileReference.parse(
        {
            "id": str(uuid4()),
            "bucket": "agent-transfers",
            "path": f"{owner}/{uuid4()}/file",
            "name": "file",
            "size": 1,
            "content_type": "text/plain",
            "sha256": "0" * 64,
            "owner": str(owner),
            "created_at": "2026-01-01T00:00:00Z",
            "chunk_size": 1,
            "chunk_count": 1,
        }
    )


def test_what_an_agent_chains_is_kept_as_json(
    deployment: Deployment, sender: Sender, failures: Failures
) -> None:
    """PostgreSQL's JSON has no U+0000, and what follows a transfer is kept in a row."""
    source = deployment.make_file("cargo.bin", 10)
    result = deployment.app.send_task(
        "transfer.upload",
        (str(source),),
        headers=sender.headers,
        exchange=REQUESTS,
        routing_key=REQUESTS,
        link_error=deployment.app.signature("nobody.listens", ("a\0b",), queue="nobody"),
    )
    failures.refused(result, errors.InvalidRequest)


# Who asks


def _claims(deployment: Deployment, agent: AgentInTest, **changes: Any) -> dict[str, Any]:
    now = int(time.time())
    issuer = f"{deployment.settings.supabase_url}/auth/v1"
    claims = {
        "sub": str(agent.id),
        "role": AUDIENCE,
        "aud": AUDIENCE,
        "iss": issuer,
        "iat": now,
        "exp": now + 600,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _secret(deployment: Deployment) -> str:
    secret = deployment.settings.supabase_jwt_secret
    if secret is None:
        pytest.skip("this project signs with an asymmetric key")
    return secret.get_secret_value()


def _elliptic(claims: dict[str, Any]) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    return jwt.encode(claims, key, "ES256", {"kid": "mine"})


FORGERIES: dict[str, Callable[[dict[str, Any], str], Any]] = {
    "another secret": lambda claims, _: jwt.encode(
        claims, "another secret of 32 bytes or so", "HS256"
    ),
    "no signature": lambda claims, _: jwt.encode(claims, None, "none"),
    "another algorithm": lambda claims, secret: jwt.encode(claims, secret, "HS384"),
    "a key of my own": lambda claims, _: _elliptic(claims),
    "no token at all": lambda *_: "nonsense",
    "a number": lambda *_: 5,
    "a list": lambda *_: ["token"],
    "half a surrogate pair": lambda *_: "a.\udcff.c",
    "expired beyond the wait": lambda claims, secret: jwt.encode(
        {**claims, "exp": claims["iat"] - 3700}, secret, "HS256"
    ),
    "from the future": lambda claims, secret: jwt.encode(
        {**claims, "nbf": claims["iat"] + 7200}, secret, "HS256"
    ),
    "no end": lambda claims, secret: jwt.encode(
        {name: value for name, value in claims.items() if name != "exp"}, secret, "HS256"
    ),
    "another audience": lambda claims, secret: jwt.encode(
        {**claims, "aud": "others"}, secret, "HS256"
    ),
    "another role": lambda claims, secret: jwt.encode(
        {**claims, "role": "service_role"}, secret, "HS256"
    ),
    "a subject that is no id": lambda claims, secret: jwt.encode(
        {**claims, "sub": "admin"}, secret, "HS256"
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_token(
    deployment: Deployment, sender: Sender, failures: Failures, forgery: str
) -> None:
    source = str(deployment.make_file("cargo.bin", 10))
    token = FORGERIES[forgery](_claims(deployment, sender.agent), _secret(deployment))
    result = raw(deployment, "transfer.upload", source, headers={TOKEN_HEADER: token})
    error = failures.refused(result, errors.InvalidToken)
    assert str(token) not in error.message or not str(token)


def test_no_token(deployment: Deployment, failures: Failures) -> None:
    source = str(deployment.make_file("cargo.bin", 10))
    failures.refused(raw(deployment, "transfer.upload", source, headers={}), errors.NotSignedIn)


def test_a_token_that_expired_while_the_request_waited(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    source = str(deployment.make_file("cargo.bin", 10))
    claims = _claims(deployment, sender.agent, exp=int(time.time()) - 600)
    token = jwt.encode(claims, _secret(deployment), "HS256")
    result = raw(deployment, "transfer.upload", source, headers={TOKEN_HEADER: token})
    FileReference.parse(result.get(timeout=RESULT_SECONDS))


def test_an_agent_that_the_fleet_does_not_know(
    deployment: Deployment, sender: Sender, failures: Failures
) -> None:
    source = str(deployment.make_file("cargo.bin", 10))
    claims = _claims(deployment, sender.agent, sub=str(uuid4()))
    token = jwt.encode(claims, _secret(deployment), "HS256")
    result = raw(deployment, "transfer.upload", source, headers={TOKEN_HEADER: token})
    failures.refused(result, errors.AccessDenied)


def test_a_disabled_agent(deployment: Deployment, sender: Sender, failures: Failures) -> None:
    source = deployment.make_file("cargo.bin", 10)
    _disable(deployment, sender.agent)
    failures.refused(sender.upload(source), errors.AccessDenied)


def test_an_agent_disabled_while_its_bytes_move(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    """A revocation works at once: the next request to storage is refused."""
    source = spool / "cargo.bin"
    with source.open("wb") as file:
        file.truncate(HUGE)
    uploaded = sender.upload(source)
    until(lambda: _moving(deployment, uploaded.id), what="the moving")
    _disable(deployment, sender.agent)
    with pytest.raises(errors.AccessDenied):
        uploaded.get(timeout=RESULT_SECONDS)
    assert deployment.transfer(uploaded.id).error_code == "access_denied"
    assert deployment.objects(sender.agent) == []


def _disable(deployment: Deployment, agent: AgentInTest) -> None:
    deployment.query(
        "UPDATE argosy.agents SET disabled_at = now() WHERE id = :id RETURNING id", id=agent.id
    )


def test_a_reader_may_not_upload(deployment: Deployment, spool: Path) -> None:
    reader = Sender(new_agent(deployment, Role.READER))
    source = deployment.make_file("cargo.bin", 10)
    failures = Failures(deployment, reader, spool)
    failures.refused(reader.upload(source), errors.AccessDenied)


# The task id


@pytest.mark.parametrize(
    "task_id", ["not-a-uuid", "x" * 200, "a\0b", "☃"], ids=["text", "long", "NUL", "unicode"]
)
def test_a_task_id_that_is_no_uuid(
    deployment: Deployment, sender: Sender, failures: Failures, task_id: str
) -> None:
    source = str(deployment.make_file("cargo.bin", 10))
    result = raw(deployment, "transfer.upload", source, headers=sender.headers, task_id=task_id)
    with pytest.raises(errors.InvalidRequest):
        result.get(timeout=RESULT_SECONDS)
    failures.nothing_is_left()


@pytest.mark.parametrize("spell", [lambda made: made.hex, lambda made: str(made).upper()])
def test_another_spelling_of_a_uuid_works_or_is_refused(
    deployment: Deployment, sender: Sender, spool: Path, spell: Callable[[UUID], str]
) -> None:
    """Celery keeps results by the text of the id, the row by its value: they must agree."""
    source = str(deployment.make_file("cargo.bin", 101 * MB))
    result = raw(
        deployment, "transfer.upload", source, headers=sender.headers, task_id=spell(uuid4())
    )
    try:
        FileReference.parse(result.get(timeout=RESULT_SECONDS))
    except errors.InvalidRequest:
        return


def _outcome(deployment: Deployment, transfer_id: str) -> tuple[str, Any, dict[str, Any]]:
    meta = deployment.app.AsyncResult(transfer_id)
    row = deployment.transfer(transfer_id)
    columns = {name.key: getattr(row, name.key) for name in Transfer.__table__.columns}
    return meta.status, repr(meta.result), columns


def _unsettled(deployment: Deployment, transfer_id: str) -> int:
    rows = deployment.query(
        "SELECT task_id FROM argosy.continuations WHERE transfer_id = :id AND settled_at IS NULL",
        id=transfer_id,
    )
    return len(rows)


INTRUSIONS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "a good request": (["/source"], {}),
    "a bad request": (["relative"], {}),
    "too many arguments": ([1, 2, 3, 4, 5, 6, 7], {}),
    "an unknown argument": (["/source"], {"unknown": 1}),
    "a key with NUL": (["/source"], {"idempotency_key": "\0"}),
    "a key that is a number": (["/source"], {"idempotency_key": 7}),
}


@pytest.mark.parametrize("intrusion", INTRUSIONS)
@pytest.mark.parametrize("succeeded", [True, False], ids=["completed", "failed"])
def test_the_task_id_of_another_agents_transfer(
    deployment: Deployment, sender: Sender, spool: Path, intrusion: str, *, succeeded: bool
) -> None:
    victim = deployment.make_file("victim.bin", 10)
    theirs = sender.upload(victim if succeeded else spool / "missing.bin")
    theirs.get(timeout=RESULT_SECONDS, propagate=False)
    until(lambda: not _unsettled(deployment, theirs.id), what="the settling")
    if not succeeded:
        until(lambda: deployment.transfer(theirs.id).cleaned_at, what="the cleaning")
    before = _outcome(deployment, theirs.id)
    intruder = Sender(new_agent(deployment))
    arguments, named = INTRUSIONS[intrusion]
    intruder_id = _intrude(deployment, intruder, theirs.id, arguments, named)
    until(lambda: _refusals(deployment, theirs.id), 20, what="the refusal")
    _after_everything(deployment, intruder)
    assert _outcome(deployment, theirs.id) == before
    assert intruder_id == theirs.id


def _intrude(
    deployment: Deployment, intruder: Sender, task_id: str, arguments: list[Any], named: Any
) -> str:
    arguments = [
        str(deployment.spool / "victim.bin") if argument == "/source" else argument
        for argument in arguments
    ]
    (deployment.spool / "victim.bin").touch()
    sent = raw(
        deployment,
        "transfer.upload",
        *arguments,
        headers=intruder.headers,
        task_id=task_id,
        **named,
    )
    return str(sent.id)


def _after_everything(deployment: Deployment, sender: Sender) -> None:
    """A worker records a result after its refusal: wait until later requests are through too."""
    source = deployment.spool / "later.bin"
    source.touch()
    later = [sender.upload(source) for _ in range(8)]
    for result in later:
        result.get(timeout=RESULT_SECONDS)


def test_an_intruder_does_not_end_the_wait_of_another_agent(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    source = spool / "cargo.bin"
    with source.open("wb") as file:
        file.truncate(HUGE)
    theirs = sender.upload(source)
    until(lambda: _moving(deployment, theirs.id), what="the moving")
    intruder = Sender(new_agent(deployment))
    raw(
        deployment,
        "transfer.upload",
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        headers=intruder.headers,
        task_id=theirs.id,
    )
    FileReference.parse(theirs.get(timeout=RESULT_SECONDS))


# The idempotency key


@pytest.mark.parametrize("size", [1000, 101 * MB])
def test_the_same_request_twice_is_one_transfer(
    deployment: Deployment, sender: Sender, spool: Path, size: int
) -> None:
    source = deployment.make_file("cargo.bin", size)
    results = [sender.upload(source, idempotency_key="nightly") for _ in range(3)]
    references = [FileReference.parse(one.get(timeout=RESULT_SECONDS)) for one in results]
    later = sender.upload(source, idempotency_key="nightly")
    references.append(FileReference.parse(later.get(timeout=RESULT_SECONDS)))
    assert all(reference == references[0] for reference in references)
    assert deployment.objects(sender.agent) == [references[0].path]
    rows = deployment.query(
        "SELECT id FROM argosy.transfers WHERE agent_id = :id", id=sender.agent.id
    )
    assert [row.id for row in rows] == [references[0].id]


def test_a_key_used_for_a_different_request(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    first = deployment.make_file("first.bin", 10)
    reference = FileReference.parse(
        sender.upload(first, idempotency_key="k").get(timeout=RESULT_SECONDS)
    )
    second = deployment.make_file("second.bin", 10)
    result = sender.upload(second, idempotency_key="k")
    with pytest.raises(errors.IdempotencyConflict):
        result.get(timeout=RESULT_SECONDS)
    assert _refusals(deployment, result.id) == ["idempotency_conflict"]
    assert deployment.objects(sender.agent) == [reference.path]


def test_a_key_is_an_agents_own(
    deployment: Deployment, sender: Sender, shared_agent: AgentInTest, spool: Path
) -> None:
    source = deployment.make_file("cargo.bin", 10)
    key = uuid4().hex
    mine = FileReference.parse(
        sender.upload(source, idempotency_key=key).get(timeout=RESULT_SECONDS)
    )
    theirs = FileReference.parse(
        Sender(shared_agent).upload(source, idempotency_key=key).get(timeout=RESULT_SECONDS)
    )
    assert mine.id != theirs.id
    assert (mine.owner, theirs.owner) == (sender.agent.id, shared_agent.id)


def test_a_failure_is_the_same_failure_for_everybody_with_the_key(
    sender: Sender, failures: Failures, spool: Path
) -> None:
    first = sender.upload(spool / "missing.bin", idempotency_key="k")
    failures.of(first, errors.SourceMissing)
    again = sender.upload(spool / "missing.bin", idempotency_key="k")
    with pytest.raises(errors.SourceMissing) as caught:
        again.get(timeout=RESULT_SECONDS)
    assert caught.value.transfer_id == first.id


def test_no_secret_is_in_the_rows(deployment: Deployment, sender: Sender, spool: Path) -> None:
    source = deployment.make_file("cargo.bin", 10)
    sender.upload(source).get(timeout=RESULT_SECONDS)
    token = sender.headers[TOKEN_HEADER]
    _assert_absent(deployment, token)


def _assert_absent(deployment: Deployment, secret: str) -> None:
    def search(session: Session) -> list[str]:
        tables = ("transfers", "events", "continuations", "chunks")
        return [
            table
            for table in tables
            if session.scalar(
                text(f"SELECT count(*) FROM argosy.{table} row WHERE strpos(row::text, :it) > 0"),
                {"it": secret},
            )
        ]

    assert deployment.transact(search) == []
