"""The spool is written by agents: what they swap, link and make there leads nowhere."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery.result import AsyncResult

from argosy import FileReference
from argosy.errors import Error, InvalidRequest, ObjectTooLarge
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import Deployment, remote, until
from tests.integration.test_bad_input import new_agent
from tests.security.wire import Audit, Workers, body, message, post

pytestmark = pytest.mark.skipif(remote(), reason="looks into the storage of the local stack")

ROUNDS = 120
SECRET = b"nobody outside may read this line\n"
GOOD = b"cargo"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is not in the spool, with a secret under every name that is asked for."""
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("file.bin", "inner.bin"):
        (folder / name).write_bytes(SECRET * 1000)
    return folder


def _state(folder: Path) -> dict[str, Any]:
    return {path.name: (path.lstat().st_ctime_ns, path.read_bytes()) for path in folder.iterdir()}


def _stored(deployment: Deployment) -> Iterator[Path]:
    """Every file in which Storage keeps bytes, unfinished uploads too."""
    return (path for path in (deployment.data / "supabase").rglob("*") if path.is_file())


class Swapper:
    """Swaps names in the spool between what is good and what leads out, at random, until left."""

    def __init__(self, spool: Path, outside: Path) -> None:
        self._hidden = spool / "hidden"
        self._hidden.mkdir()
        self._turns = [
            (spool / "file.bin", self._a_file, lambda at: at.symlink_to(outside / "file.bin")),
            (spool / "file.bin", self._a_file, os.mkfifo),
            (spool / "folder", self._a_folder, lambda at: at.symlink_to(outside)),
            (spool / "down", Path.mkdir, lambda at: at.symlink_to(outside)),
            (spool / "deep/er", self._a_folder, lambda at: at.symlink_to(outside)),
        ]
        (spool / "deep").mkdir()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._swap)
        self.swaps = 0

    def __enter__(self) -> Swapper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _swap(self) -> None:
        chance = random.Random(1)  # the same swaps each time; how they fall is the race
        while not self._done.wait(chance.uniform(0, 0.02)):
            at, good, bad = chance.choice(self._turns)
            self._put(at, chance.choice((good, good, bad)))
            self.swaps += 1

    def _put(self, at: Path, make: Callable[[Path], object]) -> None:
        """Make it aside and give it the name; what had the name is moved away."""
        made = self._hidden / uuid4().hex
        make(made)
        if at.is_symlink() or at.exists():
            at.rename(self._hidden / uuid4().hex)
        made.rename(at)

    def _a_file(self, at: Path) -> None:
        at.write_bytes(GOOD)

    def _a_folder(self, at: Path) -> None:
        at.mkdir()
        (at / "inner.bin").write_bytes(GOOD)


RACES = frozenset(
    {
        "source_outside_spool",
        "source_missing",
        "source_not_a_file",
        "source_changed",
        "source_unreadable",
        "destination_outside_spool",
        "destination_unwritable",
        "destination_exists",
    }
)


def test_swapping_files_and_folders_for_links(
    deployment: Deployment, sender: Sender, spool: Path, outside: Path
) -> None:
    cargo = deployment.make_file("cargo.bin", 10)
    reference = sender.upload(cargo).get(timeout=RESULT_SECONDS)
    workers, before = Workers(deployment), _state(outside)
    with Swapper(spool, outside) as swapper:
        results = [
            result for turn in range(ROUNDS) for result in _race(sender, reference, spool, turn)
        ]
        ends = Counter(_end(result) for result in results)
    assert swapper.swaps > ROUNDS
    assert ends.keys() <= RACES | {"done"}, ends
    assert ends["done"] > 10
    assert ends["source_outside_spool"] + ends["destination_outside_spool"] > 10, ends
    assert _state(outside) == before
    assert not [path for path in _stored(deployment) if SECRET in path.read_bytes()]
    workers.are_unharmed()


def _race(sender: Sender, reference: Any, spool: Path, turn: int) -> Iterator[AsyncResult]:
    yield sender.upload(spool / "file.bin")
    yield sender.upload(spool / "folder/inner.bin")
    yield sender.upload(spool / "deep/er/inner.bin")
    yield sender.download(reference, spool / "down" / f"{turn}.bin")
    yield sender.download(reference, spool / "deep/er" / f"{turn}.bin")


def _end(result: AsyncResult) -> str:
    try:
        result.get(timeout=RESULT_SECONDS)
    except Error as error:
        return error.code
    return "done"


def test_a_large_file_swapped_for_a_link_while_its_parts_move(
    deployment: Deployment, sender: Sender, spool: Path, outside: Path
) -> None:
    """Its parts are opened one by one, each after another chance to swap it."""
    source = spool / "large.bin"
    (outside / "large.bin").write_bytes(SECRET * (200 * MB // len(SECRET)))
    with source.open("wb") as file:
        file.truncate(200 * MB)
    uploaded = sender.upload(source)
    until(lambda: deployment.chunks(uploaded.id), what="the plan")
    source.unlink()
    source.symlink_to(outside / "large.bin")
    assert _end(uploaded) in RACES
    until(lambda: deployment.transfer(uploaded.id).cleaned_at, what="the cleaning up")
    assert not [path for path in _stored(deployment) if SECRET in path.read_bytes()]


@contextmanager
def _made(at: Path, make: Callable[[Path], object]) -> Iterator[None]:
    make(at)
    yield
    at.unlink(missing_ok=True)


def test_the_partial_file_made_in_advance(
    deployment: Deployment, sender: Sender, spool: Path, outside: Path
) -> None:
    """A sender chooses the id of its task, so it knows the name of the partial file."""
    cargo = deployment.make_file("cargo.bin", 10)
    reference = sender.upload(cargo).get(timeout=RESULT_SECONDS)
    before = _state(outside)
    makers: list[Callable[[Path], object]] = [
        lambda at: at.symlink_to(outside / "file.bin"),
        lambda at: at.symlink_to(outside / "new.bin"),
        os.mkfifo,
        Path.mkdir,
    ]
    for make in makers:
        task_id = str(uuid4())
        partial = spool / f".argosy-{task_id}.part"
        make(partial)
        result = deployment.app.send_task(
            "transfer.download",
            (reference, str(spool / f"{task_id}.bin")),
            task_id=task_id,
            headers=sender.headers,
            exchange="argosy.requests",
            routing_key="argosy.requests",
        )
        assert _end(result) in RACES | {"disk_full", "checksum_mismatch"}
    assert _state(outside) == before
    assert not list(spool.glob("*-*.bin"))


# Sizes


def _largest(at: Path) -> int:
    """Make the largest file that this disk takes; none of its bytes takes room."""
    at.touch()
    for power in range(62, 32, -1):
        try:
            os.truncate(at, 2**power)
        except OSError:
            continue
        return 2**power
    raise AssertionError("a disk that takes no 8 GiB")


def test_a_file_larger_than_any_storage(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    """Refused by its size, before a byte is read."""
    assert _largest(spool / "sparse.bin") > 2**40
    with pytest.raises(ObjectTooLarge):
        sender.upload(spool / "sparse.bin").get(timeout=RESULT_SECONDS)


def test_a_file_of_an_exabyte(deployment: Deployment, sender: Sender, spool: Path) -> None:
    memory = spool / "memory"
    memory.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(memory)],
        capture_output=True,
        check=False,
    )
    if mount.returncode != 0:
        pytest.skip("this machine refuses to mount")
    try:
        assert _largest(memory / "sparse.bin") >= 2**60
        with pytest.raises(ObjectTooLarge):
            sender.upload(memory / "sparse.bin").get(timeout=RESULT_SECONDS)
    finally:
        subprocess.run(["umount", "--lazy", str(memory)], check=True)


# Names


TWINS = [
    (unicodedata.normalize("NFC", "café.txt"), unicodedata.normalize("NFD", "café.txt")),
    ("Report.TXT", "report.txt"),
    ("straße.txt", "strasse.txt"),
    ("\u212bngstrom", "\u00c5ngstrom"),
    ("ﬁle", "file"),
    ("a\u200bb", "ab"),
    ("x ", "x"),
    ("?.txt", "*.txt"),
]


def test_names_that_look_alike_are_two_files(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    """Nothing of the one is found under the name, or the key, of the other."""
    sent = []
    for number, names in enumerate(TWINS):
        for side, name in enumerate(names):
            source = spool / f"{number}-{side}.bin"
            source.write_bytes(f"{number} {side}".encode())
            sent.append((name, source, sender.upload(source, name=name, idempotency_key=name)))
    references = [FileReference.parse(result.get(timeout=RESULT_SECONDS)) for _, _, result in sent]
    assert [reference.name for reference in references] == [name for name, _, _ in sent]
    assert len(deployment.objects(sender.agent)) == len(sent)
    for (_, source, _), reference in zip(sent, references, strict=True):
        target = spool / f"{uuid4().hex}.bin"
        sender.download(reference, target).get(timeout=RESULT_SECONDS)
        assert target.read_bytes() == source.read_bytes()


def test_a_key_of_anothers_is_ones_own(deployment: Deployment, sender: Sender, spool: Path) -> None:
    other = Sender(new_agent(deployment))
    mine, theirs = deployment.make_file("mine.bin", 10), deployment.make_file("theirs.bin", 10)
    first = sender.upload(mine, idempotency_key="nightly").get(timeout=RESULT_SECONDS)
    second = other.upload(theirs, idempotency_key="nightly").get(timeout=RESULT_SECONDS)
    assert FileReference.parse(first).owner == sender.agent.id
    assert FileReference.parse(second).owner == other.agent.id
    assert len(deployment.objects(other.agent)) == 1


# JSON that can be read in two ways


def test_of_two_values_the_last_one_counts_everywhere(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    """What was checked is what is done: nobody reads the first value, and nobody both."""
    good, task_ids = deployment.make_file("good.bin", 10), [str(uuid4()) for _ in range(2)]
    pairs = [("/etc/passwd", str(good)), (str(good), "/etc/passwd")]
    with post(deployment) as send:
        for task_id, pair in zip(task_ids, pairs, strict=True):
            first, second = map(json.dumps, pair)
            text = f'[[], {{"source": {first}, "source": {second}}}, null]'
            send(message(text, id=task_id, **sender.headers))
    results = [AsyncResult(task_id, app=deployment.app) for task_id in task_ids]
    assert [_end(result) for result in results] == ["done", "source_outside_spool"]


# What rides along


def _chain(length: int, queue: str) -> list[dict[str, Any]]:
    return [_note(queue=queue) for _ in range(length)]


def _note(**options: Any) -> dict[str, Any]:
    """A signature, as Celery writes it."""
    return {
        "task": "somebody.note",
        "args": [],
        "kwargs": {},
        "options": {"task_id": str(uuid4()), **options},
        "subtask_type": None,
        "immutable": True,
    }


def _group(inner: dict[str, Any]) -> dict[str, Any]:
    kwargs = {"tasks": [inner]}
    return {**_note(), "task": "celery.group", "kwargs": kwargs, "subtask_type": "group"}


def test_a_chain_of_thousands(deployment: Deployment, sender: Sender, spool: Path) -> None:
    """What fits into a request is carried on; ten thousand do not fit."""
    source = deployment.make_file("cargo.bin", 10)
    workers, audit = Workers(deployment), Audit(deployment)
    long, longer, queue = str(uuid4()), str(uuid4()), f"letterbox-{uuid4().hex[:8]}"
    with deployment.app.connection_for_write() as connection:
        letterbox = connection.SimpleQueue(queue)
        with post(deployment) as send:
            for task_id, length in ((long, 5000), (longer, 10_000)):
                rides = {"chain": _chain(length, queue)}
                send(message(body([str(source)], rides=rides), id=task_id, **sender.headers))
        AsyncResult(long, app=deployment.app).get(timeout=RESULT_SECONDS)
        until(lambda: letterbox.qsize() == 1, what="the first of the chain")
        letterbox.queue.delete()
        letterbox.close()
    (row,) = audit.has(1)
    assert (row.reason, row.request_id) == ("malformed_message", longer)
    workers.are_unharmed()


@pytest.mark.parametrize("rides", ["chain", "callbacks", "errbacks"])
def test_what_rides_along_nested_deeply(
    deployment: Deployment, sender: Sender, spool: Path, rides: str
) -> None:
    """A group of groups of groups, as deep as a message may be."""
    source = deployment.make_file("cargo.bin", 10)
    nest = _note()
    for _ in range(75):
        nest = _group(nest)
    workers, task_id = Workers(deployment), str(uuid4())
    with post(deployment) as send:
        send(message(body([str(source)], rides={rides: [nest]}), id=task_id, **sender.headers))
    end = _end(AsyncResult(task_id, app=deployment.app))
    assert end in {"done", InvalidRequest.code}
    sender.upload(source).get(timeout=RESULT_SECONDS)
    workers.are_unharmed()
