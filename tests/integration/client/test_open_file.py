"""A stored file as a file object: what libraries do with files, and what a server does wrong."""

from __future__ import annotations

import csv
import io
import os
import pickle
import random
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from argosy import errors
from argosy.account import Account
from argosy.deadline import called_off
from argosy.direct import remote_file
from argosy.direct.remote_file import RemoteFile
from argosy.options import DownloadOptions
from tests.unit.storage.scripted import Request, ScriptedServer, answer, refuse, reset, serve

from .clock import Clock
from .stored import StoredObject, account_on, make_content, reference_to

MIB = 1024 * 1024
SIZE = 5 * MIB + 17


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def account(server: ScriptedServer, tmp_path: Path) -> Account:
    return account_on(server, tmp_path, storage_attempts=4)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    return make_content(tmp_path / "content", SIZE)


@pytest.fixture
def stored(server: ScriptedServer, content: Path) -> StoredObject:
    stored = StoredObject(content)
    server.script(stored)
    return stored


def opened(account: Account, content: Path, seconds: float | None = None) -> RemoteFile:
    return RemoteFile(account, reference_to(content), DownloadOptions(deadline_seconds=seconds))


@pytest.mark.parametrize("step", [1000, 65536, 300_000, MIB, SIZE, SIZE + 1])
def test_in_order(account: Account, stored: StoredObject, step: int) -> None:
    with opened(account, stored.content) as file:
        got = b"".join(iter(lambda: file.read(step), b""))
    assert got == stored.content.read_bytes()
    assert stored.sent == SIZE
    assert file.closed


def test_all_at_once(account: Account, stored: StoredObject) -> None:
    with opened(account, stored.content) as file:
        assert file.read() == stored.content.read_bytes()
        assert file.read() == b""
        file.seek(-10, os.SEEK_END)
        assert file.readall() == stored.content.read_bytes()[-10:]


def test_here_and_there_like_a_file_on_disk(account: Account, stored: StoredObject) -> None:
    chance = random.Random(4)
    with opened(account, stored.content) as ours, stored.content.open("rb") as theirs:
        for _ in range(200):
            whence = chance.choice([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])
            where = {os.SEEK_SET: chance.randrange(SIZE + 50), os.SEEK_CUR: 1000, os.SEEK_END: -9}
            assert ours.seek(where[whence], whence) == theirs.seek(where[whence], whence)
            count = chance.choice([0, 1, 100, 5000])
            assert ours.read(count) == theirs.read(count)
            assert ours.tell() == theirs.tell()


def test_a_buffer_is_filled(account: Account, stored: StoredObject) -> None:
    buffer = bytearray(700_000)
    with opened(account, stored.content) as file:
        file.seek(SIZE - 900_000)
        assert file.readinto(buffer) == 700_000
        assert buffer == stored.content.read_bytes()[-900_000:-200_000]
        assert file.readinto(buffer) == 200_000
        assert file.readinto(buffer) == 0


def test_what_it_says_of_itself(account: Account, stored: StoredObject) -> None:
    file = opened(account, stored.content)
    assert file.readable()
    assert file.seekable()
    assert not file.writable()
    assert (file.name, file.mode, file.size) == ("cargo.bin", "rb", SIZE)
    with pytest.raises(io.UnsupportedOperation):
        file.write(b"no")
    with pytest.raises(ValueError, match="beginning"):
        file.seek(-1)
    with pytest.raises(ValueError, match="whence"):
        file.seek(0, 9)
    with pytest.raises(TypeError, match="reference"):
        pickle.dumps(file)
    file.close()
    file.close()
    for use in (file.read, file.tell, lambda: file.seek(0), lambda: file.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_random_reads_fetch_little(account: Account, stored: StoredObject) -> None:
    with opened(account, stored.content) as file:
        for where in (4 * MIB, MIB, 3 * MIB):
            file.seek(where)
            file.read(10)
    assert stored.sent == 3 * remote_file.SMALLEST_WINDOW


def _is_third(request: Request) -> bool:
    """Whether it asks for the third window: the first one that is read ahead."""
    return request.headers.get("range", "").startswith(f"bytes={3 * 256 * 1024}-")


def test_the_next_window_comes_while_this_one_is_read(
    account: Account, stored: StoredObject
) -> None:
    asked = threading.Event()

    def watch(request: Request) -> None:
        if _is_third(request):
            asked.set()

    stored.fault = watch
    with opened(account, stored.content) as file:
        file.read(256 * 1024)
        assert not asked.is_set()
        file.read(1)
        assert asked.wait(30)


@pytest.fixture
def arriving(stored: StoredObject) -> Iterator[threading.Event]:
    """Until it is set, the third window is on its way."""
    released = threading.Event()

    def hold(request: Request) -> None:
        if _is_third(request):
            released.wait(30)

    stored.fault = hold
    yield released
    released.set()


def test_a_read_called_off_afterwards_does_not_end_the_next(
    account: Account, stored: StoredObject, arriving: threading.Event
) -> None:
    with opened(account, stored.content) as file:
        got, off = file.read(256 * 1024), threading.Event()
        token = called_off.set(off)
        got += file.read(1)
        called_off.reset(token)
        off.set()
        arriving.set()
        assert got + file.read() == stored.content.read_bytes()


def test_a_pause_between_reads_takes_no_time_from_the_next(
    account: Account, stored: StoredObject, arriving: threading.Event, clock: Clock
) -> None:
    with opened(account, stored.content, seconds=60) as file:
        got = file.read(256 * 1024) + file.read(1)
        clock.ahead = 61
        arriving.set()
        got += file.read(512 * 1024)
        assert got == stored.content.read_bytes()[: len(got)]


def test_what_failed_ahead_is_asked_for_anew(account: Account, stored: StoredObject) -> None:
    refused = refuse(403, "AccessDenied")
    stored.fault = lambda request: refused if _is_third(request) else None
    with opened(account, stored.content) as file:
        got = file.read(256 * 1024) + file.read(1)
        assert file._ahead
        assert file._ahead.job.done.wait(30)
        stored.fault = lambda _request: None
        assert got + file.read() == stored.content.read_bytes()


def test_a_zip(account: Account, server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    noise = os.urandom(MIB)
    with zipfile.ZipFile(path, "w") as packed:
        for number in range(5):
            packed.writestr(f"{number}.bin", noise + bytes([number]))
    server.script(StoredObject(path))
    with opened(account, path) as file, zipfile.ZipFile(file) as packed:
        assert packed.testzip() is None
        assert packed.read("3.bin") == noise + b"\3"


def test_a_tar(account: Account, server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    (tmp_path / "note.txt").write_text("cargo")
    with tarfile.open(path, "w:gz") as packed:
        packed.add(tmp_path / "note.txt", "note.txt")
    server.script(StoredObject(path))
    with opened(account, path) as file, tarfile.open(fileobj=file) as packed:
        member = packed.extractfile("note.txt")
        assert member
        assert member.read() == b"cargo"


def test_lines_of_text(account: Account, server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [[str(number), "долг", "x" * (number % 97)] for number in range(20_000)]
    with path.open("w", newline="", encoding="utf-8") as target:
        csv.writer(target).writerows(rows)
    server.script(StoredObject(path))
    with (
        opened(account, path) as file,
        io.TextIOWrapper(io.BufferedReader(file), encoding="utf-8", newline="") as text,
    ):
        assert list(csv.reader(text)) == rows


def test_a_picture(account: Account, server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.effect_noise((300, 200), 50).save(path)
    server.script(StoredObject(path))
    with opened(account, path) as file, Image.open(file) as ours, Image.open(path) as theirs:
        assert ours.tobytes() == theirs.tobytes()


def test_an_empty_file(account: Account, server: ScriptedServer, tmp_path: Path) -> None:
    path = make_content(tmp_path / "empty", 0)
    server.script(StoredObject(path))
    with opened(account, path) as file:
        assert file.read() == b""
        assert file.read(10) == b""


def test_threads_take_turns(account: Account, stored: StoredObject) -> None:
    got: list[bytes] = []
    with opened(account, stored.content) as file:

        def run() -> None:
            while block := file.read(100_000):
                got.append(block)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    whole = stored.content.read_bytes()
    blocks = {whole[start : start + 100_000] for start in range(0, SIZE, 100_000)}
    assert len(got) == len(blocks)
    assert set(got) == blocks


def test_a_forked_child_reads_on(account: Account, stored: StoredObject) -> None:
    whole = stored.content.read_bytes()
    with opened(account, stored.content) as file:
        file.read(600_000)  # something is read ahead by a thread that the child will not have
        pid = os.fork()
        if not pid:
            same = file.read() == whole[600_000:]
            os._exit(0 if same else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert file.read() == whole[600_000:]


# Wrong


def test_a_pass_in_order_is_verified(account: Account, stored: StoredObject) -> None:
    with opened(account, stored.content) as file:
        with stored.content.open("r+b") as target:
            target.write(b"?")
        got = file.read(MIB)
        file.seek(0)
        assert file.read(MIB) == got
        with pytest.raises(errors.ChecksumMismatch, match=r"cargo\.bin has SHA-256"):
            while block := file.read(MIB):
                got += block
        assert len(got) < SIZE
        with pytest.raises(errors.ChecksumMismatch):
            file.read()


def test_what_may_not_be_read_is_not_opened(account: Account, server: ScriptedServer, content):
    reference = reference_to(content)
    server.script(answer(404))
    with pytest.raises(errors.ObjectNotFound) as caught:
        RemoteFile(account, reference)
    assert caught.value.transfer_id == str(reference.id)


def test_another_size_than_promised(account: Account, stored: StoredObject) -> None:
    reference = reference_to(stored.content)
    os.truncate(stored.content, SIZE - 1)
    with pytest.raises(errors.ChecksumMismatch, match="its reference says"):
        RemoteFile(account, reference)


def test_another_version(account: Account, stored: StoredObject) -> None:
    with opened(account, stored.content) as file:
        file.read(10)
        stored.etag = "v2"
        file.seek(2 * MIB)
        with pytest.raises(errors.ObjectChanged):
            file.read(10)


def test_a_passing_fault_is_passed_over(account: Account, stored: StoredObject) -> None:
    whole = stored.content.read_bytes()
    faults = [
        answer(502, b"<html>", content_type="text/html"),
        reset(),
        serve(whole, cut_after=100_000),
    ]
    stored.fault = lambda request: faults.pop() if faults and request.method == "GET" else None
    with opened(account, stored.content) as file:
        assert file.read() == whole


def test_a_lasting_fault_can_be_got_over(account: Account, stored: StoredObject) -> None:
    busy = refuse(503, "SlowDown")
    with opened(account, stored.content) as file:
        stored.fault = lambda request: busy if request.method == "GET" else None
        file.seek(1000)
        with pytest.raises(errors.StorageUnavailable):
            file.read(10)
        stored.fault = lambda _request: None
        assert file.tell() == 1000
        assert file.read(10) == stored.content.read_bytes()[1000:1010]


def test_a_silent_server_does_not_outlast_the_deadline(
    account: Account, server: ScriptedServer, stored: StoredObject
) -> None:
    silent = server.stall()
    with opened(account, stored.content) as file:
        stored.fault = lambda _request: silent
        file._seconds = 1
        begun = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded, match="1 seconds"):
            file.read(10)
        assert time.monotonic() - begun < 25  # the server hangs up after 30
