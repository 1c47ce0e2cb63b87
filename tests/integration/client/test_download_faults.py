"""Downloads from a server that fails: a typed error, and nothing under the file's name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from argosy import errors
from argosy.account import Account
from argosy.cache import FileCache
from argosy.deadline import Deadline
from argosy.direct.download import download, iter_bytes
from argosy.options import DownloadOptions
from argosy.progress import Meter, Subscriber
from argosy.reference import FileReference
from tests.deployment import until
from tests.unit.storage.scripted import (
    Request,
    ScriptedServer,
    Step,
    answer,
    refuse,
    reset,
    send_head,
    serve,
)

from .clock import Clock
from .cramped import cramped
from .stored import StoredObject, account_on, make_content, reference_to

MIB = 1024 * 1024
GIB = 1024 * MIB
PART = 5 * MIB
SMALL, LARGE = 3 * MIB + 17, 4 * PART + 17


class Heard(Subscriber):
    """What a transfer told of itself."""

    def __init__(self) -> None:
        self.queued: list[int | None] = []
        self.progress: list[int] = []
        self.results: list[object] = []

    def on_queued(self, transfer_id: str, name: str, bytes_total: int | None) -> None:
        self.queued.append(bytes_total)

    def on_progress(
        self, bytes_done: int, bytes_total: int | None, rate: float, eta: float | None
    ) -> None:
        self.progress.append(bytes_done)

    def on_done(self, result: object) -> None:
        self.results.append(result)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def account(server: ScriptedServer, tmp_path: Path) -> Account:
    return account_on(server, tmp_path, part_size=PART, storage_attempts=3)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder that files are downloaded to."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.fixture(params=[SMALL, LARGE], ids=["small", "large"])
def stored(request: pytest.FixtureRequest, server: ScriptedServer, tmp_path: Path) -> StoredObject:
    stored = StoredObject(make_content(tmp_path / "content", request.param))
    server.script(stored)
    return stored


@pytest.fixture
def large(server: ScriptedServer, tmp_path: Path) -> StoredObject:
    stored = StoredObject(make_content(tmp_path / "content", LARGE))
    server.script(stored)
    return stored


def fetch(
    account: Account,
    reference: FileReference,
    destination: Path,
    *,
    seconds: float | None = None,
    deadline: Deadline | None = None,
    cache: FileCache | None = None,
    heard: Heard | None = None,
) -> Path:
    meter = Meter([heard] if heard else [], every_seconds=0)
    return download(
        account,
        reference,
        destination,
        DownloadOptions(),
        deadline or Deadline(seconds),
        meter,
        cache,
    )


def is_get(request: Request) -> bool:
    return request.method == "GET"


def once(fault: Step, when: Callable[[Request], bool] = is_get) -> Callable[[Request], Step | None]:
    """The first request of that kind fails so, all others do not."""
    left = [fault]
    return lambda request: left.pop() if left and when(request) else None


def always(fault: Step, when: Callable[[Request], bool] = is_get) -> Callable[..., Step | None]:
    return lambda request: fault if when(request) else None


def journals(account: Account) -> list[Path]:
    folder = account.settings.journal_dir
    return list(folder.iterdir()) if folder and folder.exists() else []


def test_it_arrives(account: Account, stored: StoredObject, there: Path) -> None:
    heard = Heard()
    reference = reference_to(stored.content)
    path = fetch(account, reference, there / "it", heard=heard)
    assert path.read_bytes() == stored.content.read_bytes()
    assert [entry.name for entry in there.iterdir()] == ["it"]
    assert not journals(account)
    assert heard.queued == [reference.size]
    assert heard.progress == sorted(heard.progress)
    assert heard.progress[-1] == reference.size
    assert heard.results == [path]
    assert stored.sent == reference.size


def test_a_small_file_is_one_request(
    account: Account, server: ScriptedServer, there: Path, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "content", SMALL)
    server.script(StoredObject(content))
    fetch(account, reference_to(content), there)
    assert [request.method for request in server.requests] == ["GET"]


def test_an_empty_file(
    account: Account, server: ScriptedServer, there: Path, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "content", 0)
    server.script(StoredObject(content))
    path = fetch(account, reference_to(content), there / "it")
    assert path.read_bytes() == b""
    assert list(iter_bytes(account, reference_to(content), Deadline())) == []


@pytest.mark.parametrize(
    "fault",
    [
        answer(502, b"<html><h1>Bad Gateway</h1></html>", content_type="text/html"),
        serve(b"x" * LARGE, cut_after=100_000),
        reset(),
    ],
    ids=["html", "cut", "reset"],
)
def test_a_passing_fault_is_passed_over(
    account: Account, stored: StoredObject, there: Path, fault: Step
) -> None:
    if fault.__qualname__.startswith("serve"):
        content = stored.content.read_bytes()
        stored.fault = once(serve(content, cut_after=100_000))
    else:
        stored.fault = once(fault)
    path = fetch(account, reference_to(stored.content), there / "it")
    assert path.read_bytes() == stored.content.read_bytes()


def test_the_pause_that_is_asked_for_is_made(
    account: Account, large: StoredObject, there: Path
) -> None:
    large.fault = once(refuse(503, "SlowDown", Retry_After="2"))
    begun = time.monotonic()
    fetch(account, reference_to(large.content), there / "it")
    assert time.monotonic() - begun >= 2


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (answer(502, b"<html>no</html>", content_type="text/html"), errors.StorageUnavailable),
        (reset(), errors.StorageUnavailable),
        (refuse(404, "NoSuchKey"), errors.ObjectNotFound),
        (refuse(403, "AccessDenied"), errors.AccessDenied),
        (answer(200, b"<html>log in</html>", content_type="text/html"), errors.StorageRefused),
    ],
    ids=["html", "reset", "gone", "denied", "captive"],
)
def test_a_lasting_fault_is_a_typed_error(
    account: Account, stored: StoredObject, there: Path, fault: Step, expected: type[errors.Error]
) -> None:
    stored.fault = always(fault)
    reference = reference_to(stored.content)
    with pytest.raises(expected) as caught:
        fetch(account, reference, there / "it")
    assert caught.value.transfer_id == str(reference.id)
    assert not list(there.iterdir())
    assert not journals(account)


@pytest.mark.parametrize("change", ["more", "less", "other bytes"])
def test_other_bytes_than_promised(
    account: Account, stored: StoredObject, there: Path, change: str
) -> None:
    reference = reference_to(stored.content)
    if change == "other bytes":
        with stored.content.open("r+b") as file:
            file.seek(reference.size // 2)
            file.write(b"?")
    else:
        os.truncate(stored.content, reference.size + (1 if change == "more" else -1))
    with pytest.raises(errors.ChecksumMismatch, match=r"cargo\.bin has .* ask its owner"):
        fetch(account, reference, there / "it")
    assert not list(there.iterdir())
    assert not journals(account)


def test_another_version_half_way(account: Account, large: StoredObject, there: Path) -> None:
    gets: list[Request] = []

    def replaced(request: Request) -> None:
        if is_get(request):
            gets.append(request)
        if len(gets) >= 3:
            large.etag = "v2"

    large.fault = replaced
    with pytest.raises(errors.ObjectChanged):
        fetch(account, reference_to(large.content), there / "it")
    assert not list(there.iterdir())
    assert not journals(account)


def test_a_silent_server_does_not_outlast_the_deadline(
    account: Account, server: ScriptedServer, stored: StoredObject, there: Path
) -> None:
    stored.fault = always(server.stall(), lambda _request: True)
    begun = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded, match="1 seconds"):
        fetch(account, reference_to(stored.content), there / "it", seconds=1)
    with pytest.raises(errors.DeadlineExceeded):
        list(iter_bytes(account, reference_to(stored.content), Deadline(1)))
    assert time.monotonic() - begun < 25  # the server hangs up after 30
    assert not list(there.iterdir())


def _last_range(request: Request) -> bool:
    return request.headers.get("range", "").endswith(f"-{LARGE - 1}")


def _end_at(account: Account, parts: int, end: Callable[[], object]) -> None:
    until(lambda: _noted(account) == parts, what=f"{parts} parts in the journal")
    end()


def _noted(account: Account) -> int:
    """How many parts the journal has."""
    return sum(journal.read_text().count('"part"') for journal in journals(account))


@pytest.mark.parametrize("end", ["deadline", "cancel", "fault"])
def test_it_goes_on_where_it_stopped(
    account: Account,
    server: ScriptedServer,
    large: StoredObject,
    there: Path,
    clock: Clock,
    end: str,
) -> None:
    reference, deadline = reference_to(large.content), Deadline(600)
    stop = refuse(503, "SlowDown") if end == "fault" else server.stall()
    large.fault = always(stop, _last_range)
    ends = {"cancel": deadline.cancel, "deadline": lambda: setattr(clock, "ahead", 601)}
    if end in ends:
        threading.Thread(target=_end_at, args=(account, 4, ends[end])).start()
    expected = {
        "deadline": errors.DeadlineExceeded,
        "cancel": errors.TransferCancelled,
        "fault": errors.StorageUnavailable,
    }
    with pytest.raises(expected[end]):
        fetch(account, reference, there / "it", deadline=deadline)
    [partial] = there.iterdir()
    assert partial.name.startswith(".argosy-")
    assert len(journals(account)) == 1
    large.fault, before, heard = (lambda _request: None), large.sent, Heard()
    fetch(account, reference, there / "it", heard=heard)
    assert (there / "it").read_bytes() == large.content.read_bytes()
    assert large.sent - before == 17
    assert heard.progress[-1] == LARGE
    assert [entry.name for entry in there.iterdir()] == ["it"]
    assert not journals(account)


def test_what_is_left_of_another_version_is_not_used(
    account: Account, large: StoredObject, there: Path
) -> None:
    reference = reference_to(large.content)
    large.fault = always(refuse(403, "InvalidJWT", "jwt expired"), _last_range)
    with pytest.raises(errors.InvalidToken):
        fetch(account, reference, there / "it")
    assert len(journals(account)) == 1
    large.fault, large.etag, large.sent = (lambda _request: None), "v2", 0
    fetch(account, reference, there / "it")
    assert large.sent == LARGE
    assert (there / "it").read_bytes() == large.content.read_bytes()


def test_what_is_left_and_was_spoilt_is_fetched_anew(
    account: Account, large: StoredObject, there: Path
) -> None:
    """As after a power cut: the journal says more than the disk has."""
    reference = reference_to(large.content)
    large.fault = always(refuse(403, "InvalidJWT", "jwt expired"), _last_range)
    with pytest.raises(errors.InvalidToken):
        fetch(account, reference, there / "it")
    [partial] = there.iterdir()
    with partial.open("r+b") as file:
        file.write(bytes(PART))
    large.fault = lambda _request: None
    fetch(account, reference, there / "it")
    assert (there / "it").read_bytes() == large.content.read_bytes()
    assert [entry.name for entry in there.iterdir()] == ["it"]


def test_two_calls_for_one_name(account: Account, large: StoredObject, there: Path) -> None:
    reference, results = reference_to(large.content), []

    def run() -> None:
        try:
            results.append(fetch(account, reference, there / "it"))
        except errors.Error as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    losers = [result for result in results if isinstance(result, errors.DestinationExists)]
    assert len(losers) == 2
    assert (there / "it").read_bytes() == large.content.read_bytes()
    assert [entry.name for entry in there.iterdir()] == ["it"]
    assert not journals(account)


def test_what_has_the_name_is_left_alone(
    account: Account, server: ScriptedServer, stored: StoredObject, there: Path
) -> None:
    reference = reference_to(stored.content)
    (there / "file").write_bytes(b"mine")
    (there / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(errors.DestinationExists, match="exists already"):
            fetch(account, reference, there / name)
    assert (there / "file").read_bytes() == b"mine"
    assert not server.requests

    def taken(_request: Request) -> None:
        (there / "late").touch()

    stored.fault = taken
    with pytest.raises(errors.DestinationExists):
        fetch(account, reference, there / "late")
    assert (there / "late").read_bytes() == b""
    assert sorted(entry.name for entry in there.iterdir()) == ["file", "late", "link"]


@pytest.mark.parametrize("name", ["missing/it", "file/it", "nul\0/it", "x" * 300])
def test_a_destination_that_cannot_be(
    account: Account, server: ScriptedServer, stored: StoredObject, there: Path, name: str
) -> None:
    (there / "file").write_bytes(b"")
    with pytest.raises(errors.DestinationUnwritable):
        fetch(account, reference_to(stored.content), there / name)
    assert not server.requests
    assert [entry.name for entry in there.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("отчёт за май.pdf", "отчёт за май.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..\\evil.exe", "_evil.exe"),
        ("..", "file"),
        ("/", "_"),
        (".profile", "profile"),
        ("a\nb\x1b[2J\u202etxt.exe", "ab[2Jtxt.exe"),
        ("x" * 400 + ".gz", "x" * 252 + ".gz"),
        ("長" * 200 + ".txt", "長" * 83 + ".txt"),
    ],
)
def test_in_a_folder_it_gets_a_safe_name(
    account: Account,
    server: ScriptedServer,
    there: Path,
    tmp_path: Path,
    name: str,
    expected: str,
) -> None:
    content = make_content(tmp_path / "content", 100)
    server.script(StoredObject(content))
    path = fetch(account, reference_to(content, name), there)
    assert path.parent == there
    assert len(os.fsencode(path.name)) <= 255
    assert path.name == expected
    assert [entry.name for entry in there.iterdir()] == [path.name]


CHILD = """
import json, resource, sys
from pathlib import Path
from argosy.account import Account
from argosy.deadline import Deadline
from argosy.direct.download import download
from argosy.errors import Error
from argosy.options import DownloadOptions
from argosy.progress import Meter
from argosy.reference import FileReference
from argosy.settings import AgentSettings

settings, token, reference, destination, limit = json.loads(sys.stdin.read())
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
account = Account(AgentSettings(**settings), lambda: token)
meter = Meter([], every_seconds=1)
options = DownloadOptions()
try:
    reference, destination = FileReference.parse(reference), Path(destination)
    download(account, reference, destination, options, Deadline(), meter, None)
except Error as error:
    print(error.code)
"""


def child(
    account: Account, reference: FileReference, destination: Path, limit: int = 0
) -> subprocess.Popen[str]:
    """The same download in a process of its own."""
    settings = {
        name: value.get_secret_value() if hasattr(value, "get_secret_value") else value
        for name, value in account.settings.model_dump().items()
    }
    order = [settings, account.token(), reference.document(), str(destination), limit]
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin
    process.stdin.write(json.dumps(order, default=str))
    process.stdin.close()
    return process


def test_a_disk_that_is_full(account: Account, stored: StoredObject, there: Path) -> None:
    process = child(account, reference_to(stored.content), there / "it", limit=MIB)
    assert process.stdout
    assert process.stdout.read() == "disk_full\n"
    assert process.wait() == 0
    assert not list(there.iterdir())
    assert not journals(account)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [(None, errors.ChecksumMismatch), (answer(404, b""), errors.ObjectNotFound)],
    ids=["smaller", "gone"],
)
def test_no_room_is_taken_for_what_is_only_said(
    account: Account,
    large: StoredObject,
    there: Path,
    fault: Step | None,
    expected: type[errors.Error],
) -> None:
    """A reference is anybody's word: Storage is asked first."""
    large.fault = lambda _request: fault
    lie = reference_to(large.content).model_copy(update={"size": 9 * GIB})
    with cramped(64 * MIB), pytest.raises(expected):
        fetch(account, lie, there / "it")
    assert not list(there.iterdir())
    assert not journals(account)


def test_a_large_file_is_asked_for_once_and_then_comes(
    account: Account, server: ScriptedServer, large: StoredObject, there: Path
) -> None:
    fetch(account, reference_to(large.content), there / "it")
    assert [request.method for request in server.requests] == ["HEAD", *["GET"] * 5]


def test_a_killed_process_is_gone_on_with(
    server: ScriptedServer, tmp_path: Path, there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    account = account_on(server, tmp_path)
    stored = StoredObject(make_content(tmp_path / "content", 300_000_000))
    server.script(stored)
    reference = reference_to(stored.content)
    process = child(account, reference, there / "it")
    until(lambda: stored.sent >= 200_000_000, what="two thirds of it")
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert [entry.name[:8] for entry in there.iterdir()] == [".argosy-"]
    before = stored.sent
    assert child(account, reference, there / "it").wait() == 0
    assert [entry.name for entry in there.iterdir()] == ["it"]
    again = stored.sent - reference.size
    with capsys.disabled():
        print(f"\nkilled after {before / 1e6:.0f} MB of 300; {again / 1e6:.1f} MB came twice")
    assert 0 <= again <= account.settings.parallel * account.settings.part_size
    with (there / "it").open("rb") as ours, stored.content.open("rb") as theirs:
        while block := ours.read(MIB):
            assert block == theirs.read(MIB)


def test_iterating(account: Account, stored: StoredObject) -> None:
    blocks = list(iter_bytes(account, reference_to(stored.content), Deadline()))
    assert b"".join(blocks) == stored.content.read_bytes()
    assert max(map(len, blocks)) <= MIB


@pytest.mark.parametrize("change", ["more", "less", "other bytes"])
def test_the_last_block_waits_for_the_verdict(
    account: Account, stored: StoredObject, change: str
) -> None:
    reference = reference_to(stored.content)
    if change == "other bytes":
        with stored.content.open("r+b") as file:
            file.write(b"?")
    else:
        os.truncate(stored.content, reference.size + (1 if change == "more" else -1))
    got = 0
    with pytest.raises(errors.ChecksumMismatch) as caught:
        for block in iter_bytes(account, reference, Deadline()):
            got += len(block)
    assert got < reference.size
    assert caught.value.transfer_id == str(reference.id)


def test_iterating_may_end_early(account: Account, server: ScriptedServer, large) -> None:
    blocks = iter_bytes(account, reference_to(large.content), Deadline())
    next(blocks)
    blocks.close()
    assert large.sent < LARGE


def test_a_server_that_says_more_than_it_announced(
    account: Account, server: ScriptedServer, there: Path, tmp_path: Path
) -> None:
    content = make_content(tmp_path / "content", 1000)

    def chatty(request: Request, connection) -> None:
        send_head(connection, 200, 1000, {"ETag": '"v1"'})
        connection.sendall(content.read_bytes() + b"and more")

    server.script(chatty)
    path = fetch(account, reference_to(content), there / "it")
    assert path.read_bytes() == content.read_bytes()
