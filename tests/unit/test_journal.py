"""The journal of a transfer: what a killed process had noted is there, and nothing else."""

from __future__ import annotations

import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from argosy.direct import journal as journal_module
from argosy.direct.journal import Journal
from argosy.settings import AgentSettings

KEY = {"path": "/data/källa.bin", "bucket": "b"}
NOTES_FOR_EVER = """
import sys
from itertools import count
from pathlib import Path
from argosy.direct.journal import Journal
from argosy.settings import AgentSettings

settings = AgentSettings.model_construct(journal_dir=Path(sys.argv[1]))
with Journal.open(settings, "upload", {"path": "p"}) as journal:
    journal.begin({"id": "1"})
    for number in count(1):
        journal.note(number, f"{number:032x}")
        print(number, flush=True)
"""


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    return AgentSettings.model_construct(journal_dir=tmp_path / "state" / "journal")


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_told", set())


def _open(settings: AgentSettings, **changes: str) -> Journal:
    return Journal.open(settings, "upload", KEY | changes)


def _only_file(settings: AgentSettings) -> Path:
    assert settings.journal_dir
    [path] = settings.journal_dir.iterdir()
    return path


def test_what_was_noted_is_there_for_the_next(settings: AgentSettings) -> None:
    with _open(settings) as first:
        assert (first.header, first.parts, first.is_kept) == ({}, {}, True)
        first.begin({"id": "1", "ümlaut": ["x\ny"]})
        first.note(2, "b", -(2**63))
        first.note(1, "")
        first.amend(stored=True)
    with _open(settings) as second:
        assert second.header == {"id": "1", "ümlaut": ["x\ny"], "stored": True}
        assert second.parts == {1: "", 2: "b"}
        assert second.hashes == {2: -(2**63)}
        second.begin({"id": "2"})
    with _open(settings) as third:
        assert (third.header, third.parts, third.hashes) == ({"id": "2"}, {}, {})


def test_another_key_or_kind_is_another_journal(settings: AgentSettings) -> None:
    with _open(settings) as ours:
        ours.begin({"id": "1"})
        with _open(settings, bucket="c") as other_key:
            assert other_key.is_kept
            assert not other_key.header
        with Journal.open(settings, "download", KEY) as other_kind:
            assert other_kind.is_kept
            assert not other_kind.header


def test_only_its_owner_may_look(settings: AgentSettings) -> None:
    with _open(settings) as journal:
        journal.begin({"id": "1"})
    path = _only_file(settings)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "källa" not in path.name


def test_removed_it_leaves_nothing_and_takes_no_more(settings: AgentSettings) -> None:
    with _open(settings) as journal:
        journal.begin({"id": "1"})
        journal.remove()
        journal.note(1, "late")
        assert not journal.is_kept
    assert settings.journal_dir
    assert not list(settings.journal_dir.iterdir())


def test_one_that_says_nothing_is_no_file(settings: AgentSettings) -> None:
    with _open(settings):
        _only_file(settings)
    assert settings.journal_dir
    assert not list(settings.journal_dir.iterdir())


@pytest.mark.parametrize(
    "torn",
    [b'{"part":3,"et', b'{"part":3}\n', b"\0\0\0\0\n", b"[]\n", b'{"header":7}\n', b"7\n"],
)
def test_a_torn_line_is_not_believed_and_not_built_upon(
    settings: AgentSettings, torn: bytes
) -> None:
    with _open(settings) as journal:
        journal.begin({"id": "1"})
        journal.note(1, "a")
    with _only_file(settings).open("ab") as file:
        file.write(torn)
    with _open(settings) as again:
        assert (again.header, again.parts) == ({"id": "1"}, {1: "a"})
        again.note(2, "b")
    with _open(settings) as once_more:
        assert once_more.parts == {1: "a", 2: "b"}


def test_parts_without_a_header_are_nobodys(settings: AgentSettings) -> None:
    with _open(settings) as journal:
        journal.begin({"id": "1"})
    _only_file(settings).write_bytes(b'{"part":1,"etag":"a"}\n')
    with _open(settings) as again:
        assert (again.header, again.parts) == ({}, {})


def test_threads_note_at_once(settings: AgentSettings) -> None:
    with _open(settings) as journal:
        journal.begin({"id": "1"})

        def note(first: int) -> None:
            for number in range(first, first + 200):
                journal.note(number, f"{number:032x}")

        threads = [threading.Thread(target=note, args=(200 * n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with _open(settings) as again:
        assert again.parts == {number: f"{number:032x}" for number in range(1000)}


def test_a_killed_process_leaves_all_that_it_noted(settings: AgentSettings) -> None:
    arguments = [sys.executable, "-c", NOTES_FOR_EVER, str(settings.journal_dir)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        printed = [int(process.stdout.readline()) for _ in range(500)]
        process.send_signal(signal.SIGKILL)
        printed += [int(line) for line in process.stdout if line.endswith("\n")]
    with Journal.open(settings, "upload", {"path": "p"}) as journal:
        assert journal.is_kept, "the lock ended with its process"
        assert len(journal.parts) >= len(printed)
        assert journal.parts == {n: f"{n:032x}" for n in range(1, len(journal.parts) + 1)}


def test_who_comes_second_works_without(settings: AgentSettings) -> None:
    with _open(settings) as first:
        first.begin({"id": "1"})
        with _open(settings) as second:
            assert not second.is_kept
            assert second.header == {}
            second.begin({"id": "2"})
            second.note(1, "theirs")
            assert second.parts == {1: "theirs"}
            second.remove()
        first.note(1, "ours")
    with _open(settings) as again:
        assert (again.header, again.parts) == ({"id": "1"}, {1: "ours"})


def test_a_forked_child_does_not_keep_it(settings: AgentSettings) -> None:
    journal = _open(settings)
    journal.begin({"id": "1"})
    may_end, end = os.pipe()
    child = os.fork()
    if not child:
        os.close(end)
        os.read(may_end, 1)
        os._exit(0)
    try:
        journal.close()
        with _open(settings) as again:
            assert again.is_kept
    finally:
        os.close(end)
        os.close(may_end)
        os.waitpid(child, 0)


@contextmanager
def _unusable(folder: Path, how: str) -> Iterator[None]:
    folder.parent.mkdir(parents=True)
    if how == "a file is in its place":
        folder.write_text("")
    elif how == "others may write to it":
        folder.mkdir()
        folder.chmod(0o777)
    else:
        folder.symlink_to("/proc/self/none")
    yield


@pytest.mark.parametrize(
    "how", ["a file is in its place", "others may write to it", "it leads nowhere"]
)
def test_without_a_usable_folder_it_works_and_says_so_once(
    settings: AgentSettings, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert settings.journal_dir
    with _unusable(settings.journal_dir, how), caplog.at_level(logging.WARNING):
        for _ in range(3):
            with _open(settings) as journal:
                assert (journal.header, journal.is_kept) == ({}, False)
                journal.begin({"id": "1"})
                journal.note(1, "a")
                assert journal.parts == {1: "a"}
    assert [record.message for record in caplog.records] == ["journal.unusable"]


@pytest.mark.parametrize("how", ["link", "fifo", "readable by others"])
def test_what_is_no_private_file_is_left_alone(
    settings: AgentSettings, tmp_path: Path, how: str
) -> None:
    with _open(settings) as journal:
        journal.begin({"id": "1"})
    path, elsewhere = _only_file(settings), tmp_path / "elsewhere"
    path.rename(elsewhere)
    if how == "link":
        path.symlink_to(elsewhere)
    elif how == "fifo":
        os.mkfifo(path, 0o600)
    else:
        elsewhere.rename(path)
        path.chmod(0o644)
    with _open(settings) as again:
        assert (again.header, again.is_kept) == ({}, False)


@pytest.mark.parametrize("room", [75, 100], ids=["to the byte", "for half a line"])
def test_what_a_full_disk_does_not_take_is_not_noted(settings: AgentSettings, room: int) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with _open(settings) as journal:
            journal.begin({"id": "1"})
            journal.note(1, "0" * 32)
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, limit[1]))
            for number in range(2, 10):
                journal.note(number, "0" * 32)
            assert len(journal.parts) == 9
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            journal.note(10, "1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    with _open(settings) as again:
        assert again.header == {"id": "1"}
        assert again.parts == {1: "0" * 32, 10: "1"}


def test_without_a_setting_it_is_among_the_users_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Journal.open(AgentSettings.model_construct(journal_dir=None), "upload", KEY) as journal:
        journal.begin({"id": "1"})
        assert len(list((tmp_path / "argosy" / "journal").iterdir())) == 1
