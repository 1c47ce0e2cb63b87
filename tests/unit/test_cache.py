"""The cache of fetched files: bounded, verified, shared by threads and processes."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import random
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from argosy import cache_folder
from argosy.cache import FileCache, MetadataCache
from argosy.errors import DeadlineExceeded
from argosy.info import FileInfo

MIB = 1024 * 1024
ETAG = "9f86d081884c7d65"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def cache(folder: Path) -> FileCache:
    return FileCache(folder, 10 * MIB)


@pytest.fixture(autouse=True)
def told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test hears of every trouble once more."""
    monkeypatch.setattr(cache_folder, "_told", set())


def put(cache: FileCache, content: bytes, etag: str = ETAG) -> str:
    """Have it in the cache, if there is room; its SHA-256."""
    sha256 = hashlib.sha256(content).hexdigest()
    if insertion := cache.begin(len(content)):
        insertion.write(content)
        insertion.commit(sha256, etag)
    return sha256


def take(cache: FileCache, sha256: str, size: int, target: Path, etag: str | None = ETAG) -> bool:
    fd = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        return cache.copy_to(sha256, size, fd, etag=etag)
    finally:
        os.close(fd)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9a-f][0-9a-f]/*"))


def total(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in (*entries(folder), *(folder / "new").iterdir()))


def test_what_came_in_comes_out(cache: FileCache, folder: Path, tmp_path: Path) -> None:
    content = os.urandom(3 * MIB + 17)
    sha256 = put(cache, content)
    assert cache.has(sha256, len(content))
    assert take(cache, sha256, len(content), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content
    [entry] = entries(folder)
    assert entry.name.startswith(sha256)
    assert entry.parent.name == sha256[:2]
    assert entry.stat().st_mode & 0o777 == 0o400
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache.stats.hits == 1
    assert cache.stats.bytes == FileCache(folder, MIB).stats.bytes == len(content)
    assert not list((folder / "new").iterdir())


@pytest.mark.parametrize("wrong", ["sha256", "size", "etag"])
def test_what_is_not_there_is_a_miss(cache: FileCache, tmp_path: Path, wrong: str) -> None:
    sha256, size, etag = put(cache, b"cargo"), 5, ETAG
    if wrong == "sha256":
        sha256 = hashlib.sha256(b"other").hexdigest()
    elif wrong == "size":
        size = 6
    else:
        etag = "another object's"
    assert not take(cache, sha256, size, tmp_path / "out", etag)
    assert (tmp_path / "out").read_bytes() == b""
    assert (cache.stats.hits, cache.stats.misses) == (0, 1)


def test_asking_for_another_size_does_no_harm(cache: FileCache, tmp_path: Path) -> None:
    sha256 = put(cache, b"cargo")
    assert not take(cache, sha256, 4, tmp_path / "out")
    assert take(cache, sha256, 5, tmp_path / "out")


def test_an_entry_that_was_cut_is_replaced(cache: FileCache, folder: Path, tmp_path: Path) -> None:
    sha256 = put(cache, b"cargo")
    [entry] = entries(folder)
    entry.chmod(0o600)
    os.truncate(entry, 2)
    assert not take(cache, sha256, 5, tmp_path / "out")
    put(cache, b"cargo")
    assert take(cache, sha256, 5, tmp_path / "out")


def test_an_empty_file_is_a_file(cache: FileCache, tmp_path: Path) -> None:
    assert take(cache, put(cache, b""), 0, tmp_path / "out")


def test_a_rotten_entry_goes(cache: FileCache, folder: Path, tmp_path: Path) -> None:
    content = os.urandom(2 * MIB)
    sha256 = put(cache, content)
    [entry] = entries(folder)
    entry.chmod(0o600)
    with entry.open("r+b") as file:
        file.seek(MIB + 5)
        file.write(b"rot")
    heard: list[int] = []
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    assert not cache.copy_to(sha256, len(content), fd, etag=ETAG, on_bytes=heard.append)
    os.close(fd)
    assert sum(heard) == 0
    assert heard[0] == MIB
    assert not entries(folder)
    assert not cache.has(sha256, len(content))
    put(cache, content)
    assert take(cache, sha256, len(content), tmp_path / "out")


def test_what_was_used_least_lately_goes(cache: FileCache, folder: Path, tmp_path: Path) -> None:
    names = [put(cache, os.urandom(3 * MIB)) for _ in range(3)]
    for age, entry in enumerate(sorted(entries(folder), key=lambda e: names.index(e.name[:64]))):
        os.utime(entry, (1_000_000 + age, 1_000_000 + age))
    assert take(cache, names[0], 3 * MIB, tmp_path / "out")
    names.append(put(cache, os.urandom(3 * MIB)))
    assert [cache.has(name, 3 * MIB) for name in names] == [True, False, True, True]
    assert cache.stats.evictions == 1
    assert total(folder) <= 10 * MIB


def test_what_is_larger_than_the_bound_is_not_kept(cache: FileCache, folder: Path) -> None:
    put(cache, b"small")
    assert cache.begin(10 * MIB + 1) is None
    assert len(entries(folder)) == 1


def test_what_is_on_its_way_in_counts(cache: FileCache, folder: Path) -> None:
    first = cache.begin(6 * MIB)
    assert first
    assert cache.begin(6 * MIB) is None
    first.discard()
    second = cache.begin(6 * MIB)
    assert second
    second.discard()
    assert total(folder) == 0


def test_half_a_file_never_comes_in(cache: FileCache, folder: Path) -> None:
    sha256 = hashlib.sha256(b"half").hexdigest()
    with cache.begin(8) as insertion:  # type: ignore[union-attr]
        insertion.write(b"half")
        assert not insertion.commit(sha256, ETAG)
    assert not entries(folder)
    assert not list((folder / "new").iterdir())


def test_an_eviction_takes_nothing_from_who_reads(cache: FileCache, tmp_path: Path) -> None:
    content = os.urandom(4 * MIB)
    sha256 = put(cache, content)
    fd = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)

    def evict(_count: int) -> None:
        put(cache, os.urandom(10 * MIB))
        assert not cache.has(sha256, len(content))

    assert cache.copy_to(sha256, len(content), fd, etag=ETAG, on_bytes=evict)
    os.close(fd)
    assert (tmp_path / "out").read_bytes() == content


def test_what_a_crash_left_is_swept(folder: Path) -> None:
    def crash() -> None:
        insertion = FileCache(folder, 10 * MIB).begin(8 * MIB)
        assert insertion
        insertion.write(b"some of it")
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=crash)
    process.start()
    process.join()
    [left] = (folder / "new").iterdir()
    put(FileCache(folder, 10 * MIB), os.urandom(9 * MIB))
    assert not left.exists()
    assert len(entries(folder)) == 1


def test_a_crash_while_an_entry_is_replaced_leaves_nothing_uncounted(
    cache: FileCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(3 * MIB)
    put(cache, content)

    def crash() -> None:
        monkeypatch.setattr(Path, "rename", lambda *_: os._exit(0))
        put(FileCache(folder, 10 * MIB), content)

    process = multiprocessing.get_context("fork").Process(target=crash)
    process.start()
    process.join()
    assert process.exitcode == 0
    put(cache, b"what comes next sweeps")
    assert cache.stats.bytes == total(folder)


def test_the_books_are_made_anew_when_they_are_lost(cache: FileCache, folder: Path) -> None:
    for _ in range(3):
        put(cache, os.urandom(3 * MIB))
    (folder / "lock").write_bytes(b"garbage")
    put(cache, os.urandom(3 * MIB))
    assert total(folder) <= 10 * MIB
    for entry in entries(folder):
        entry.unlink()  # by hand: the books say there is no room
    assert cache.has(put(cache, os.urandom(10 * MIB)), 10 * MIB)


@pytest.mark.parametrize("how", ["a file", "others may write", "a file on the way"])
def test_a_folder_that_cannot_be_used(
    tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cache"
    if how == "a file":
        folder.write_bytes(b"")
    elif how == "a file on the way":
        folder.write_bytes(b"")
        folder = folder / "deeper"
    else:
        folder.mkdir()
        folder.chmod(0o777)
    cache = FileCache(folder, MIB)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            sha256 = put(cache, b"cargo")
            assert not cache.has(sha256, 5)
            assert not take(cache, sha256, 5, tmp_path / "out")
    assert [record.message for record in caplog.records] == ["cache.unusable"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_insertion_alone(cache: FileCache, folder: Path) -> None:
    insertion = cache.begin(5)
    assert insertion
    full = os.open("/dev/full", os.O_WRONLY)
    assert insertion._fd is not None
    os.dup2(full, insertion._fd)
    os.close(full)
    insertion.write(b"cargo")
    assert not insertion.commit(hashlib.sha256(b"cargo").hexdigest(), ETAG)
    assert not entries(folder)
    assert not list((folder / "new").iterdir())


def test_a_full_destination_is_the_callers_trouble(cache: FileCache) -> None:
    sha256 = put(cache, b"cargo")
    fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space"):
        cache.copy_to(sha256, 5, fd)
    os.close(fd)
    assert cache.has(sha256, 5)


def test_whoever_listens_may_end_it(cache: FileCache, tmp_path: Path) -> None:
    def over(_count: int) -> None:
        raise DeadlineExceeded("Over.")

    sha256 = put(cache, b"cargo")
    with (tmp_path / "out").open("wb") as target, pytest.raises(DeadlineExceeded):
        cache.copy_to(sha256, 5, target.fileno(), on_bytes=over)


def _race(folder: Path, seed: int, out: Path) -> None:
    """Put and take files of few contents, in a cache that has room for half of them."""
    chance = random.Random(seed)
    cache = FileCache(folder, 2 * MIB)
    for _ in range(60):
        content = bytes([chance.randrange(16)]) * (256 * 1024)
        sha256 = hashlib.sha256(content).hexdigest()
        if take(cache, sha256, len(content), out):
            assert out.read_bytes() == content
        else:
            put(cache, content)
        with cache_folder.locked(folder):
            assert total(folder) <= 2 * MIB


def test_processes_and_threads_share_it(folder: Path, tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    processes = [
        fork.Process(target=_race, args=(folder, seed, tmp_path / f"out{seed}"))
        for seed in range(3)
    ]
    for process in processes:
        process.start()
    failed: list[BaseException] = []

    def race(seed: int) -> None:
        try:
            _race(folder, seed, tmp_path / f"out{seed}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=race, args=(seed,)) for seed in range(3, 6)]
    for thread in threads:
        thread.start()
    for each in (*threads, *processes):
        each.join()
    assert not failed
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert 0 < total(folder) <= 2 * MIB
    assert int((folder / "lock").read_bytes()) == total(folder)


# Metadata


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def info(path: str) -> FileInfo:
    return FileInfo("b", path, 1, "etag", "text/plain", datetime.now(UTC), path)


class Loads:
    """Loads metadata, and counts."""

    def __init__(self, path: str) -> None:
        self.path, self.count = path, 0

    def __call__(self) -> FileInfo:
        self.count += 1
        return info(self.path)


def test_metadata_lives_for_a_while() -> None:
    clock, load = Clock(), Loads("a")
    cache = MetadataCache(10, 30, clock=clock)
    assert cache.get("b", "a", load) is cache.get("b", "a", load)
    clock.now = 29.9
    cache.get("b", "a", load)
    assert load.count == 1
    clock.now = 30
    cache.get("b", "a", load)
    assert load.count == 2
    assert (cache.stats.hits, cache.stats.misses) == (2, 2)


def test_metadata_is_bounded_and_forgotten() -> None:
    cache = MetadataCache(2, 30)
    a, b, c = (Loads(name) for name in "abc")
    for load in (a, b, a, c, a, b):
        cache.get("b", load.path, load)
    assert (a.count, b.count, c.count) == (1, 2, 1)
    cache.forget("b", "a")
    cache.forget("b", "never seen")
    cache.get("b", "a", a)
    assert a.count == 2


@pytest.mark.parametrize(("entries", "seconds"), [(0, 30), (10, 0)])
def test_metadata_may_be_off(entries: int, seconds: float) -> None:
    cache, load = MetadataCache(entries, seconds), Loads("a")
    cache.get("b", "a", load)
    cache.get("b", "a", load)
    assert load.count == 2
    assert cache.stats.evictions == 0


def test_what_is_forgotten_while_it_is_asked_for_is_not_kept() -> None:
    cache, load = MetadataCache(10, 30), Loads("a")

    def deleted_meanwhile() -> FileInfo:
        found = load()
        cache.forget("b", "a")
        return found

    cache.get("b", "a", deleted_meanwhile)
    cache.get("b", "a", load)
    assert load.count == 2


def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    cache = MetadataCache(10, 30)
    with cache._lock:
        process = multiprocessing.get_context("fork").Process(
            target=lambda: cache.get("b", "a", Loads("a"))
        )
        process.start()
        process.join(20)
    assert process.exitcode == 0
