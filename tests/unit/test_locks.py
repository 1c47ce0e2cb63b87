"""What a process has locked is free once it was killed, though a child of its own lives on."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from argosy import locks, scratch
from argosy.cache import FileCache
from argosy.direct.destination import destination
from argosy.direct.journal import Journal
from argosy.scratch import scratch_folder
from argosy.session_file import SessionFile
from argosy.settings import AgentSettings

MIB = 1024 * 1024
Lock = Callable[[ExitStack, Path], bool]
"""Takes a lock until the stack is closed; False where somebody else has it."""


def _partial_file(stack: ExitStack, folder: Path) -> bool:
    found = stack.enter_context(destination(folder / "it", "report.bin"))
    return stack.enter_context(found.partial("owner")).is_lasting


def _journal(stack: ExitStack, folder: Path) -> bool:
    settings = AgentSettings.model_construct(journal_dir=folder / "journal")
    journal = stack.enter_context(Journal.open(settings, "upload", {}))
    journal.begin({"id": "1"})
    return journal.is_kept


def _turn(stack: ExitStack, folder: Path) -> bool:
    return stack.enter_context(SessionFile(folder / "state", "http://a", "agent").turn(0))


def _insertion(stack: ExitStack, folder: Path) -> bool:
    insertion = FileCache(folder / "cache", 10 * MIB).begin(8 * MIB)
    return insertion is not None and stack.enter_context(insertion) is insertion


def _scratch(stack: ExitStack, folder: Path) -> bool:
    stack.enter_context(scratch_folder())
    return len(list(folder.glob(f"{scratch.PREFIX}*"))) == 1  # else it did not sweep the other


@contextmanager
def killed(hold: Callable[[], bool]) -> Iterator[None]:
    """A process that holds it and was killed, and its child, which lives."""
    lives, alive = os.pipe()
    may_end, end = os.pipe()
    process = os.fork()
    if not process:
        try:
            if hold() and not os.fork():
                os.close(end)
                os.write(alive, b"x")
                os.read(may_end, 1)
                os._exit(0)
            signal.pause()
        finally:
            os._exit(1)
    os.close(alive)
    try:
        assert os.read(lives, 1), "it took the lock, and has a child"
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        yield
    finally:
        for each in (lives, may_end, end):
            os.close(each)


@pytest.mark.parametrize("lock", [_partial_file, _journal, _turn, _insertion, _scratch])
def test_a_child_keeps_no_lock_of_a_killed_parent(
    tmp_path: Path, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "YOUNG_SECONDS", -1)
    with ExitStack() as held, killed(lambda: lock(held, tmp_path)), ExitStack() as ours:
        assert lock(ours, tmp_path)


def test_a_file_that_the_disk_does_not_take_into_the_cache_stays_open_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FileCache(tmp_path / "cache", 10 * MIB)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "ftruncate", fail)
    assert cache.begin(MIB) is None
    paths = [Path(f"/proc/self/fd/{fd}").readlink() for fd in locks._owned]
    assert not [path for path in paths if path.is_relative_to(tmp_path.resolve())]


def test_a_child_does_not_close_what_has_the_number_of_its_parents_file(tmp_path: Path) -> None:
    """It unwinds, as its parent will: the parent's file was closed in it as it began."""
    fd = locks.own(os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT))
    child = os.fork()
    if not child:
        try:
            os.dup2(os.open(tmp_path, os.O_RDONLY), fd)
            locks.let_go(fd)
            os._exit(0 if os.path.samestat(os.fstat(fd), tmp_path.stat()) else 2)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    locks.let_go(fd)
