"""Files that are stored compressed, on a server that fails, and from people who lie."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from argosy import errors
from argosy.account import Account
from argosy.cache import FileCache
from argosy.coding.encoder import Encoder
from argosy.coding.formats import format_of
from argosy.coding.frames import FRAME_BYTES, Frame, FrameTable
from argosy.deadline import Deadline
from argosy.derived import Encoding
from argosy.direct.download import iter_bytes
from argosy.direct.remote_file import RemoteFile
from argosy.reference import FileReference
from tests.deployment import until
from tests.unit.storage.scripted import Request, ScriptedServer, refuse

from .compressed import encoded_reference, make_mixed, make_table, stored_encoded
from .cramped import cramped
from .stored import StoredObject, account_on, make_content
from .test_download_faults import GIB, Heard, always, child, fetch, is_get, journals

MIB = 1024 * 1024
RANGE = 2 * FRAME_BYTES
"""What a part of 5 MiB becomes, so that it has whole frames."""
SIZE = 3 * RANGE + MIB + 17
ENCODINGS: tuple[Encoding, ...] = ("zstd", "gzip")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def account(server: ScriptedServer, tmp_path: Path) -> Account:
    return account_on(server, tmp_path, part_size=5 * MIB, storage_attempts=3)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.fixture
def content(tmp_path: Path) -> Path:
    return make_mixed(tmp_path / "content", SIZE)


@pytest.fixture(params=ENCODINGS)
def stored(
    request: pytest.FixtureRequest, server: ScriptedServer, content: Path
) -> tuple[StoredObject, FileReference]:
    """An object of all the ways to write a file compressed, and its reference."""
    made = stored_encoded(content, request.param)
    server.script(made[0])
    return made


Stored = tuple[StoredObject, FileReference]


def serve(server: ScriptedServer, path: Path, raw: bytes) -> StoredObject:
    path.write_bytes(raw)
    made = StoredObject(path)
    server.script(made)
    return made


# Every byte, once


def test_in_ranges(account: Account, stored: Stored, content: Path, there: Path) -> None:
    on_server, reference = stored
    heard = Heard()
    path = fetch(account, reference, there / "it", heard=heard)
    assert path.read_bytes() == content.read_bytes()
    assert heard.queued == [SIZE]
    assert heard.progress == sorted(heard.progress)
    assert heard.progress[-1] == SIZE
    assert len(on_server.ranges) == 1 + 4  # the table, and four ranges
    assert on_server.sent == reference.stored_size  # neither frame nor table came twice
    assert [entry.name for entry in there.iterdir()] == ["it"]
    assert not journals(account)


def test_a_small_one(account: Account, server: ScriptedServer, there: Path, tmp_path: Path) -> None:
    content = make_table(tmp_path / "content", 3 * MIB)
    on_server, reference = stored_encoded(content, "zstd")
    server.script(on_server)
    assert fetch(account, reference, there / "it").read_bytes() == content.read_bytes()
    assert [request.method for request in server.requests] == ["HEAD", "GET", "GET"]
    assert on_server.sent == reference.stored_size < content.stat().st_size / 4


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_empty_one(
    account: Account, server: ScriptedServer, there: Path, tmp_path: Path, encoding: Encoding
) -> None:
    on_server, reference = stored_encoded(make_content(tmp_path / "content", 0), encoding)
    server.script(on_server)
    assert reference.stored_size > 0
    assert fetch(account, reference, there / "it").read_bytes() == b""
    assert list(iter_bytes(account, reference, Deadline())) == []


def test_block_by_block(account: Account, stored: Stored, content: Path) -> None:
    on_server, reference = stored
    blocks = list(iter_bytes(account, reference, Deadline()))
    assert b"".join(blocks) == content.read_bytes()
    assert max(map(len, blocks)) <= MIB
    assert on_server.sent == reference.stored_size


def test_like_a_file_on_disk(account: Account, stored: Stored, content: Path) -> None:
    chance, (_, reference) = random.Random(5), stored
    with RemoteFile(account, reference) as ours, content.open("rb") as theirs:
        for _ in range(60):
            where = chance.randrange(SIZE + 50)
            assert ours.seek(where) == theirs.seek(where)
            count = chance.choice([0, 1, 5000, FRAME_BYTES, 9 * MIB])
            assert ours.read(count) == theirs.read(count)
        assert ours.seek(-9, os.SEEK_END) == theirs.seek(-9, os.SEEK_END)
        assert ours.read() == theirs.read()


def test_a_forked_child_reads_on(account: Account, stored: Stored, content: Path) -> None:
    whole, (_, reference) = content.read_bytes(), stored
    with RemoteFile(account, reference) as file:
        file.read(600_000)
        pid = os.fork()
        if not pid:
            same = file.read() == whole[600_000:]
            os._exit(0 if same else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert file.read() == whole[600_000:]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_seek_decodes_one_frame(
    account: Account, server: ScriptedServer, tmp_path: Path, encoding: Encoding
) -> None:
    content = make_mixed(tmp_path / "content", 64 * MIB)
    on_server, reference = stored_encoded(content, encoding)
    server.script(on_server)
    with RemoteFile(account, reference) as file:
        file.seek(-1000, os.SEEK_END)
        assert file.read() == content.read_bytes()[-1000:]
        assert [request.method for request in server.requests] == ["HEAD", "GET", "GET"]
        assert on_server.sent < FRAME_BYTES
        file.seek(-FRAME_BYTES, os.SEEK_END)
        file.read(10)
        assert len(server.requests) == 3  # it is in the same frame
        file.seek(10)
        file.read(10)
    assert len(server.requests) == 4  # the table came once
    assert on_server.sent < 2 * FRAME_BYTES


# Gone on with


def last_range(request: Request, reference: FileReference, on_server: StoredObject) -> bool:
    """Whether it asks for the frames of the last range: what is before the table."""
    table = on_server.ranges[0][0]
    return request.headers.get("range", "").endswith(f"-{table - 1}")


def stop_at_last(on_server: StoredObject, reference: FileReference) -> None:
    stop = refuse(503, "SlowDown")
    on_server.fault = always(
        stop, lambda asked: bool(on_server.ranges) and last_range(asked, reference, on_server)
    )


def test_it_goes_on_where_it_stopped(
    account: Account, stored: Stored, content: Path, there: Path
) -> None:
    on_server, reference = stored
    stop_at_last(on_server, reference)
    with pytest.raises(errors.StorageUnavailable):
        fetch(account, reference, there / "it")
    [partial] = there.iterdir()
    assert partial.name.startswith(".argosy-")
    on_server.fault, before, heard = (lambda _request: None), on_server.sent, Heard()
    seen = len(on_server.ranges)
    fetch(account, reference, there / "it", heard=heard)
    assert (there / "it").read_bytes() == content.read_bytes()
    assert len(on_server.ranges) == seen + 2  # the table, and what was missing
    assert on_server.sent - before < 2 * MIB
    assert heard.progress[0] >= 3 * RANGE
    assert [entry.name for entry in there.iterdir()] == ["it"]
    assert not journals(account)


def test_what_is_left_of_another_version_is_not_used(
    account: Account, stored: Stored, content: Path, there: Path
) -> None:
    on_server, reference = stored
    stop_at_last(on_server, reference)
    with pytest.raises(errors.StorageUnavailable):
        fetch(account, reference, there / "it")
    on_server.fault, on_server.etag, on_server.sent = (lambda _request: None), "v2", 0
    fetch(account, reference, there / "it")
    assert on_server.sent == reference.stored_size
    assert (there / "it").read_bytes() == content.read_bytes()


def test_a_killed_process_is_gone_on_with(
    server: ScriptedServer, tmp_path: Path, there: Path
) -> None:
    account = account_on(server, tmp_path)
    content = make_mixed(tmp_path / "content", 160 * MIB)
    on_server, reference = stored_encoded(content, "zstd")
    server.script(on_server)
    process = child(account, reference, there / "it")
    until(lambda: on_server.sent >= reference.stored_size * 0.8, what="most of it")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [entry.name[:8] for entry in there.iterdir()] == [".argosy-"]
    assert child(account, reference, there / "it").wait() == 0
    again = on_server.sent - reference.stored_size
    assert 0 <= again <= account.settings.parallel * account.settings.part_size
    assert (there / "it").read_bytes() == content.read_bytes()


def test_another_version_half_way(
    account: Account, stored: Stored, there: Path, tmp_path: Path
) -> None:
    on_server, reference = stored
    gets: list[Request] = []

    def replaced(request: Request) -> None:
        if is_get(request):
            gets.append(request)
        if len(gets) >= 3:
            on_server.etag = "v2"

    on_server.fault = replaced
    with pytest.raises(errors.ObjectChanged):
        fetch(account, reference, there / "it", cache=FileCache(tmp_path / "cache", 10**9))
    assert not list(there.iterdir())
    assert not list((tmp_path / "cache").glob("??/*"))


# Lies

Reading = Callable[[Account, FileReference, Path], object]


def by_seeking(account: Account, reference: FileReference, _there: Path) -> object:
    with RemoteFile(account, reference) as file:
        file.seek(reference.size // 2)
        return file.read(10)


READINGS: dict[str, Reading] = {
    "download": lambda account, reference, there: fetch(account, reference, there / "it"),
    "iterate": lambda account, reference, _: list(iter_bytes(account, reference, Deadline())),
    "seek": by_seeking,
}


@pytest.mark.parametrize("how", READINGS)
def test_a_bomb_is_not_even_fetched(
    account: Account, server: ScriptedServer, stored: Stored, there: Path, how: str
) -> None:
    """Neither a byte of its size is reserved, nor a request made."""
    _, reference = stored
    lie = reference.model_copy(update={"size": 1001 * reference.stored_size})
    with pytest.raises(errors.ExpansionTooLarge, match="ARGOSY_EXPANSION") as caught:
        READINGS[how](account, lie, there)
    assert caught.value.transfer_id == str(reference.id)
    assert server.requests == []
    assert not list(there.iterdir())
    assert not journals(account)


def test_no_room_is_taken_for_what_no_table_has(
    account: Account, stored: Stored, there: Path
) -> None:
    """The object is as large as was said, and what it decodes to is not."""
    _, reference = stored
    lie = reference.model_copy(update={"size": 8 * GIB})
    with cramped(64 * MIB), pytest.raises(errors.ChecksumMismatch, match="damaged in Storage"):
        fetch(account, lie, there / "it")
    assert not list(there.iterdir())
    assert not journals(account)


def test_how_much_it_may_become_is_a_setting(
    server: ScriptedServer, there: Path, tmp_path: Path
) -> None:
    zeros = tmp_path / "zeros"
    with zeros.open("wb") as file:
        file.truncate(65 * MIB)
    on_server, reference = stored_encoded(zeros, "zstd")
    server.script(on_server)
    factor = reference.size // reference.stored_size + 1
    with pytest.raises(errors.ExpansionTooLarge):
        fetch(account_on(server, tmp_path, expansion=100), reference, there / "it")
    fetch(account_on(server, tmp_path, expansion=factor), reference, there / "it")
    assert (there / "it").stat().st_size == 65 * MIB


def test_a_frame_that_holds_more_than_it_may(
    account: Account, server: ScriptedServer, there: Path, tmp_path: Path
) -> None:
    """A bomb in a frame, with a table and a reference that say nothing of it."""
    import zstandard

    frame = zstandard.ZstdCompressor(write_checksum=True).compress(bytes(60 * MIB))
    table = FrameTable([Frame(len(frame), FRAME_BYTES)])
    raw = frame + format_of("zstd").table(table)
    serve(server, tmp_path / "raw", raw)
    content = make_content(tmp_path / "content", FRAME_BYTES)
    reference = encoded_reference(content, raw, "zstd")
    for reading in READINGS.values():
        with pytest.raises(errors.ExpansionTooLarge):
            reading(account, reference, there)
    assert not list(there.iterdir())
    assert not journals(account)


def flip(raw: bytes, where: int) -> bytes:
    return raw[:where] + bytes([raw[where] ^ 1]) + raw[where + 1 :]


def swapped(content: Path, encoding: Encoding) -> bytes:
    """Sound frames and a true table, but two of the frames in each other's place."""
    encoder = Encoder(encoding, 3)
    frames = list(encoder.update(content.read_bytes()))
    first, second = encoder.table[0], encoder.table[1]
    rest = [encoder.table[number] for number in range(2, len(encoder.table))]
    *last, _table = encoder.finish()
    rest += [encoder.table[len(encoder.table) - 1]] if last else []
    table = format_of(encoding).table(FrameTable([second, first, *rest]))
    return b"".join([frames[1], frames[0], *frames[2:], *last, table])


DAMAGED: dict[str, Callable[[bytes, Path, Encoding], bytes]] = {
    "in a frame": lambda raw, _content, _encoding: flip(raw, len(raw) // 2 + MIB // 2),  # noise
    "in the table": lambda raw, _content, _encoding: flip(raw, len(raw) - 30),
    "cut": lambda raw, _content, _encoding: raw[:-1],
    "longer": lambda raw, _content, _encoding: raw + b"\0",
    "no table": lambda raw, _content, _encoding: raw[:-100] + bytes(100),
    "swapped": lambda _raw, content, encoding: swapped(content, encoding),
}


@pytest.mark.parametrize("how", ["download", "iterate"])
@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_other_bytes_than_promised(
    account: Account,
    server: ScriptedServer,
    content: Path,
    there: Path,
    tmp_path: Path,
    encoding: Encoding,
    damage: str,
    how: str,
) -> None:
    on_server, reference = stored_encoded(content, encoding)
    raw = on_server.content.read_bytes()
    damaged = DAMAGED[damage](raw, content, encoding)
    assert damaged != raw
    serve(server, tmp_path / "raw", damaged)
    with pytest.raises(errors.ChecksumMismatch, match=r"cargo\.bin .* [aA]sk its owner"):
        READINGS[how](account, reference, there)
    assert not list(there.iterdir())
    assert not journals(account)


def test_an_object_that_is_not_encoded_at_all(
    account: Account, server: ScriptedServer, content: Path, there: Path, tmp_path: Path
) -> None:
    raw = content.read_bytes()
    serve(server, tmp_path / "raw", raw)
    with pytest.raises(errors.ChecksumMismatch):
        fetch(account, encoded_reference(content, raw, "zstd"), there / "it")
    assert not list(there.iterdir())


def test_readers_at_once_read_the_table_once(
    account: Account, stored: Stored, content: Path
) -> None:
    on_server, reference = stored
    got: list[bytes] = []
    with RemoteFile(account, reference) as file:

        def run() -> None:
            while block := file.read(700_000):
                got.append(block)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(map(len, got)) == SIZE
    assert on_server.sent == reference.stored_size
