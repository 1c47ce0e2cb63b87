"""Files that are compressed on their way up, and are themselves again on every way down."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from argosy import Client, FileReference, UploadOptions, fetch_files
from argosy.derived import Encoding
from argosy.errors import (
    ChecksumMismatch,
    ExpansionTooLarge,
    InvalidRequest,
    SourceChanged,
    SourceUnreadable,
)
from argosy.fetch import LocalFile
from argosy.options import Compress
from argosy.storage.body import BytesBody
from tests.deployment import AgentInTest, Deployment, remote

from .agents import add_agent, process_environment
from .compressed import make_mixed, make_table
from .conftest import MakeClient
from .test_download import MOST_BYTES, entries, measure
from .test_upload import Heard, stored_bytes
from .test_upload_memory import MOST_MEGABYTES

MIB = 1024 * 1024
ENCODINGS: tuple[Encoding, ...] = ("zstd", "gzip")
ZSTD = UploadOptions(compress="zstd")


def unpacked(raw: bytes, encoding: str | None) -> bytes:
    """By readers that know nothing of our tables."""
    if encoding == "gzip":
        return gzip.decompress(raw)
    with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as reader:
        return reader.read()


def check(client: Client, reference: FileReference, content: bytes) -> None:
    """All that a reference says of a file that is stored compressed is so."""
    raw = stored_bytes(client, reference)
    assert (reference.size, reference.stored_size) == (len(content), len(raw))
    assert reference.sha256 == hashlib.sha256(content).hexdigest()
    assert reference.md5 == hashlib.md5(content).hexdigest()
    assert reference.stored
    assert reference.stored.sha256 == hashlib.sha256(raw).hexdigest()
    assert reference.stored.md5 == hashlib.md5(raw).hexdigest()
    assert -(-len(raw) // reference.chunk_size) == reference.chunk_count
    assert unpacked(raw, reference.encoding) == content


@pytest.fixture
def in_parts(make_client: MakeClient, agent: AgentInTest) -> Client:
    """Of whose files all but the smallest move in parts, and who hears of every block."""
    return make_client(agent, part_size=5 * MIB, chunk_threshold=0, progress_seconds=0)


@pytest.fixture(params=[3 * MIB, 30 * MIB + 17], ids=["small", "large"])
def content(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return make_mixed(tmp_path / "Bericht.bin", request.param)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return make_table(tmp_path / "table.csv", 10 * MIB + 3)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_there_and_back(in_parts: Client, content: Path, encoding: Encoding, tmp_path: Path):
    client, whole = in_parts, content.read_bytes()
    reference = client.upload_file(content, {"k": "v"}, options=UploadOptions(compress=encoding))
    assert (reference.encoding, reference.name) == (encoding, "Bericht.bin")
    assert (reference.chunk_count > 1) == (len(whole) > 5 * MIB)
    assert reference.stored_size < len(whole)
    check(client, reference, whole)
    place = f"{reference.bucket}/{reference.path}"
    for number, named in enumerate([reference, reference.document(), place]):
        path = client.download_file(named, tmp_path / str(number))
        assert path.read_bytes() == whole
        assert b"".join(client.iter_bytes(named)) == whole
        with client.open_file(named) as file:
            assert file.size == len(whole)
            file.seek(-100, os.SEEK_END)
            assert file.read() == whole[-100:]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_stream_there_and_back(in_parts: Client, content: Path, encoding: Encoding) -> None:
    whole, options = content.read_bytes(), UploadOptions(compress=encoding)
    blocks = (whole[start : start + 300_007] for start in range(0, len(whole), 300_007))
    from_blocks = in_parts.upload_stream(blocks, "flow.bin", options=options)
    check(in_parts, from_blocks, whole)
    from_file = in_parts.upload_stream(io.BytesIO(whole), "flow.bin", options=options)
    assert from_file.stored == from_blocks.stored  # however it is cut
    assert from_file.stored == in_parts.upload_file(content, options=options).stored
    assert b"".join(in_parts.iter_bytes(from_file)) == whole


@pytest.mark.parametrize("how", ["file", "stream"])
def test_progress_is_told_in_the_files_own_bytes(in_parts: Client, content: Path, how: str) -> None:
    heard, size = Heard(), content.stat().st_size
    options = UploadOptions(compress="zstd", subscribers=(heard,))
    if how == "file":
        reference = in_parts.upload_file(content, options=options)
        assert heard.queued[0][1:] == ("Bericht.bin", size)
    else:
        reference = in_parts.upload_stream(io.BytesIO(content.read_bytes()), "x", options=options)
    heard.check_exact(reference)
    assert heard.progress[-1][0] == reference.size == size


def test_what_storage_and_the_books_say(
    in_parts: Client, content: Path, deployment: Deployment
) -> None:
    reference = in_parts.upload_file(content, {"k": "v"}, options=ZSTD)
    assert reference.stored
    info = in_parts.get_file_metadata(reference)
    assert (info.size, info.stored_size) == (reference.size, reference.stored_size)
    assert (info.encoding, info.sha256, info.md5) == ("zstd", reference.sha256, reference.md5)
    assert (info.metadata, info.reference().stored) == ({"k": "v"}, reference.stored)
    [listed] = in_parts.list_files()
    assert (listed.size, listed.encoding) == (reference.stored_size, None)
    row = deployment.transfer(str(reference.id))
    assert (row.size, row.encoding) == (reference.size, "zstd")
    assert (row.stored_size, row.stored_sha256, row.stored_md5) == (
        reference.stored_size,
        reference.stored.sha256,
        reference.stored.md5,
    )
    assert FileReference.parse(row.reference or {}) == reference
    assert FileReference.parse(in_parts.status(reference).reference or {}) == reference


def test_the_second_time_it_comes_from_the_cache(
    in_parts: Client, content: Path, tmp_path: Path
) -> None:
    reference = in_parts.upload_file(content, options=ZSTD)
    for name in ("first", "second"):
        path = in_parts.download_file(reference, tmp_path / name)
        assert path.read_bytes() == content.read_bytes()
    assert in_parts.cache
    assert (in_parts.cache.stats.hits, in_parts.cache.stats.misses) == (1, 1)
    [entry] = entries(in_parts)
    assert entry.name[:64] == reference.sha256
    assert entry.stat().st_size == reference.size


def test_a_file_that_is_fetched_for_a_handler(
    client: Client, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    @fetch_files(client=client)
    def handle(file: LocalFile) -> bytes:
        return file.path.read_bytes()

    assert handle(client.upload_file(table, options=ZSTD)) == table.read_bytes()


def test_another_agent_gets_it(client: Client, other: Client, table: Path, tmp_path: Path) -> None:
    name = other._account.agent_name
    options = UploadOptions(compress="gzip", share_with=(name,))
    reference = client.upload_file(table, options=options)
    assert reference.grants == (f"read:{name}",)
    assert other.download_file(reference, tmp_path / "it").read_bytes() == table.read_bytes()
    by_place = other.get_file_metadata(f"{reference.bucket}/{reference.path}").reference()
    assert by_place.stored == reference.stored
    with other.open_file(by_place) as file:
        file.seek(5 * MIB)
        assert file.read(100) == table.read_bytes()[5 * MIB :][:100]


def test_a_copy_that_is_kept_stays_compressed(client: Client, tmp_path: Path) -> None:
    content = make_mixed(tmp_path / "content", 15 * MIB)
    reference = client.upload_file(content, options=ZSTD)
    kept = client.persist(reference)
    assert (kept.stored, kept.encoding) == (reference.stored, "zstd")
    assert stored_bytes(client, kept) == stored_bytes(client, reference)
    by_place = f"{kept.bucket}/{kept.path}"
    assert b"".join(client.iter_bytes(by_place)) == content.read_bytes()
    with pytest.raises(InvalidRequest, match="compress"):
        client.persist(reference, options=ZSTD)


# Whether it pays


def lines(size: int) -> bytes:
    return b"".join(b"%d,%d\n" % (number, number**2) for number in range(size // 8))


CASES: dict[str, tuple[str, bytes, str | None]] = {
    "text": ("table.csv", lines(MIB), "zstd"),
    "a text of one line": ("a.txt", b"short but " * 20, "zstd"),
    "noise that calls itself text": ("noise.txt", os.urandom(MIB), None),
    "noise": ("noise.bin", os.urandom(MIB), None),
    "a type that is compressed": ("photo.jpg", lines(MIB), None),
    "nothing": ("empty.txt", b"", None),
}


@pytest.mark.parametrize("how", ["file", "stream"])
@pytest.mark.parametrize("case", CASES)
def test_auto_compresses_what_it_makes_smaller(client: Client, case: str, how: str) -> None:
    name, content, encoding = CASES[case]
    options = UploadOptions(compress="auto", name=name)
    if how == "file":
        reference = client.upload_file(content, options=options)
    else:
        reference = client.upload_stream(io.BytesIO(content), name, options=options)
    assert reference.encoding == encoding
    if encoding:
        check(client, reference, content)
        assert reference.stored_size < 0.95 * len(content)
    else:
        assert (reference.stored, reference.stored_size) == (None, len(content))
        assert stored_bytes(client, reference) == content
    assert b"".join(client.iter_bytes(reference)) == content


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_empty_file_may_be_compressed_too(
    client: Client, encoding: Encoding, tmp_path: Path
) -> None:
    reference = client.upload_file(b"", options=UploadOptions(compress=encoding))
    assert (reference.size, reference.encoding) == (0, encoding)
    check(client, reference, b"")
    assert client.download_file(reference, tmp_path / "it").read_bytes() == b""
    with client.open_file(f"{reference.bucket}/{reference.path}") as file:
        assert file.read() == b""


@pytest.mark.parametrize("wish", ["br", "ZSTD", True, ""])
def test_a_compression_that_is_none(wish: Compress) -> None:
    with pytest.raises(InvalidRequest, match="auto, zstd or gzip"):
        UploadOptions(compress=wish)


@pytest.mark.usefixtures("spool")
@pytest.mark.parametrize("how", ["direct", "later"])
def test_both_ways_up_store_the_same_bytes(
    client: Client, deployment: Deployment, tmp_path: Path, how: str
) -> None:
    path = make_table(deployment.spool / "table.csv", 9 * MIB)
    expected = client.upload_file(path, options=ZSTD)
    options = UploadOptions(compress="auto")
    if how == "direct":
        reference = client.upload_file(path, options=options)
    else:
        reference = client.wait(client.upload_later(path, options=options))
        assert isinstance(reference, FileReference)
    check(client, reference, path.read_bytes())
    assert (reference.encoding, reference.stored) == ("zstd", expected.stored)
    assert client.download_file(reference, tmp_path / "it").read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("spool")
def test_what_the_fleet_does_with_it_afterwards(client: Client, deployment: Deployment) -> None:
    path = make_table(deployment.spool / "table.csv", MIB)
    reference = client.wait(client.upload_later(path, options=UploadOptions(process="auto")))
    assert isinstance(reference, FileReference)
    assert reference.facts
    assert reference.facts.text
    assert b"".join(client.iter_bytes(reference)) == path.read_bytes()


def test_process_is_for_the_fleet(client: Client) -> None:
    """Left out without a word it would be waited for in vain."""
    options = UploadOptions(process="auto")
    with pytest.raises(InvalidRequest, match="upload_later"):
        client.upload_file(b"x", options=options)
    with pytest.raises(InvalidRequest, match="upload_later"):
        client.upload_stream([b"x"], "x", options=options)
    assert list(client.list_files()) == []


# What goes wrong


@pytest.fixture
def check_nothing_left(deployment: Deployment, agent: AgentInTest) -> Iterator[None]:
    yield
    assert deployment.objects(agent) == []
    assert deployment.unfinished_uploads(agent) == []


class Writing(Heard):
    """Writes to a file once its upload has begun."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def on_queued(self, transfer_id: str, name: str, bytes_total: int | None) -> None:
        super().on_queued(transfer_id, name, bytes_total)
        with self._path.open("r+b") as file:
            file.write(b"changed")


@pytest.mark.usefixtures("check_nothing_left")
def test_a_file_that_is_written_meanwhile(in_parts: Client, content: Path) -> None:
    writer = Writing(content)
    options = UploadOptions(compress="zstd", subscribers=(writer,))
    with pytest.raises(SourceChanged, match=r"Bericht\.bin.*upload it again") as caught:
        in_parts.upload_file(content, options=options)
    assert caught.value.transfer_id == writer.queued[0][0]


@pytest.mark.usefixtures("check_nothing_left")
@pytest.mark.parametrize("wish", ["zstd", "auto"])
@pytest.mark.parametrize("blocks", [0, 1, 30])
def test_a_stream_that_breaks_off(in_parts: Client, wish: Compress, blocks: int) -> None:
    def broken() -> Iterator[bytes]:
        for _ in range(blocks):
            yield os.urandom(MIB // 2) + bytes(MIB // 2)
        raise KeyError("sensor")

    with pytest.raises(SourceUnreadable, match=r"flow.*KeyError") as caught:
        in_parts.upload_stream(broken(), "flow", options=UploadOptions(compress=wish))
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.transfer_id


@pytest.mark.usefixtures("check_nothing_left")
def test_what_the_fleet_refuses_is_removed(client: Client) -> None:
    options = UploadOptions(compress="zstd", share_with=("nobody-here",))
    with pytest.raises(InvalidRequest):
        client.upload_file(b"x" * 1000, options=options)


def test_flipped_bits(client: Client, table: Path, tmp_path: Path) -> None:
    reference = client.upload_file(table, options=ZSTD)
    store, raw = client._account.store(), bytearray(stored_bytes(client, reference))
    raw[len(raw) // 2] ^= 0x10
    place = (reference.bucket, reference.path)
    metadata = store.head(*place).metadata
    store.put(*place, BytesBody(bytes(raw)), content_type="text/csv", metadata=metadata)
    there = tmp_path / "there"
    there.mkdir()
    for named in (reference, f"{reference.bucket}/{reference.path}"):
        with pytest.raises(ChecksumMismatch):
            client.download_file(named, there)
        with pytest.raises(ChecksumMismatch):
            b"".join(client.iter_bytes(named))
    assert not list(there.iterdir())
    assert not entries(client)


# Memory


@pytest.mark.skipif(remote(), reason="makes agents with the local stack's command")
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_memory_does_not_know_the_size(
    deployment: Deployment,
    spool: Path,
    tmp_path: Path,
    encoding: Encoding,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"memory-{os.urandom(4).hex()}"
    environment = process_environment(add_agent(deployment, name), tmp_path)
    path = make_mixed(deployment.spool / "cargo.bin", 256 * MIB)
    command = [sys.executable, "-m", "tests.integration.client.uploading", "file", str(path)]
    done = subprocess.run(
        [*command, str(16 * MIB), encoding],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    reference, up = FileReference.parse(said["reference"]), said["peak"] - said["baseline"]
    assert (reference.size, reference.encoding) == (256 * MIB, encoding)
    its_own = environment["ARGOSY_AGENT"], environment["ARGOSY_AGENT_KEY"]
    owner = AgentInTest(reference.owner, *its_own, deployment.settings)
    for how in ("download_file, cached", "open_file"):
        found = measure(deployment, owner, reference, how, tmp_path)
        down = found["peak"] - found["baseline"]
        with capsys.disabled():
            print(
                f"\n{encoding}: {up:.0f} MB of memory up ({256 * 1.048576 / said['seconds']:.0f} "
                f"MB/s), {how} {down / 1e6:.0f} MB ({256 * 1.048576 / found['seconds']:.0f} MB/s)"
            )
        assert down < MOST_BYTES
    assert up < MOST_MEGABYTES
    assert (tmp_path / "it").stat().st_size == 256 * MIB


def test_a_file_that_nobody_would_decode_is_not_stored(client: Client, tmp_path: Path) -> None:
    zeros = tmp_path / "zeros"
    with zeros.open("wb") as file:
        file.truncate(100 * MIB)
    with pytest.raises(ExpansionTooLarge, match="without compress"):
        client.upload_file(zeros, options=ZSTD)
    assert not list(client.list_files(prefix=f"{client.agent_id}/"))
