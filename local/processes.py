"""One child process: in a session of its own, logging to a file, never left behind.

A child ends with the process that started it, even if that one is SIGKILLed: Linux is told
so with PR_SET_PDEATHSIG. Elsewhere (macOS) a killed stack leaves its children running; each
has left a note of its pid in the data folder, and the next start there ends it first.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Process:
    """A program that is run again and again under one name."""

    def __init__(
        self,
        name: str,
        data: Path,
        *,
        death_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        """`death_signal` is what the child gets when whoever started it dies."""
        self.name = name
        self.log_path = data / "logs" / f"{name}.log"
        self._note = data / "run" / f"{name}.json"
        self._death_signal = death_signal
        self._child: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """The pid of the last child, running or not."""
        return self._child.pid if self._child else None

    def is_running(self) -> bool:
        """Whether the child lives; a dead one is reaped."""
        return self._child is not None and self._child.poll() is None

    def spawn(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        folder: Path,
        user: str | None = None,
    ) -> None:
        """Start the child, after ending what an earlier stack may have left."""
        if self.is_running():
            raise RuntimeError(f"{self.name} is running already (pid {self.pid})")
        self._end_leftover()
        for parent in (self.log_path.parent, self._note.parent):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)

        def start() -> subprocess.Popen[bytes]:
            with self.log_path.open("ab") as log:
                self._log_start = log.tell()
                return subprocess.Popen(
                    [str(word) for word in command],
                    env=dict(environment),
                    cwd=folder,
                    user=user,
                    group=group_of(user),
                    extra_groups=[] if user else None,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    # Safe here: it makes two system calls and takes no lock.
                    preexec_fn=_dies_with_us(self._death_signal),  # noqa: PLW1509
                )

        self._child = _nursery(os.getpid()).submit(start).result()
        self._write_note(self._child.pid)

    def ask_to_end(self, ask: signal.Signals) -> None:
        """Send the child a signal, and wait for nothing."""
        if self._child:
            self._child.send_signal(ask)

    def wait(self, seconds: float) -> int:
        """The child's exit code, once it has ended by itself. Raises TimeoutExpired."""
        if not self._child:
            raise RuntimeError(f"{self.name} was never started")
        return self._child.wait(seconds)

    def stop(self, ask: signal.Signals = signal.SIGTERM, grace: float = 10.0) -> None:
        """Ask the child to end, and kill it and its descendants when the grace is over."""
        if not self._child:
            return
        family = _family(self._child.pid)
        self._child.send_signal(ask)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(grace)
        self._bury(family)

    def kill(self, *, orphans_grace: float = 0.0) -> None:
        """SIGKILL the child; give what it leaves some time to notice, then kill that too."""
        if not self._child:
            return
        self._child.send_signal(signal.SIGSTOP)  # so that no descendant is born unseen
        family = _family(self._child.pid)
        self._child.kill()
        self._child.wait()
        wait_until(lambda: not any(map(is_alive, family)), seconds=orphans_grace)
        self._bury(family)

    def kill_without_waiting(self) -> None:
        """SIGKILL the child and its descendants, from a signal handler: takes no lock."""
        if not self._child or self._child.returncode is not None:
            return
        for process in [*_family(self._child.pid), *_session(self._child.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def tail(self, lines: int = 20) -> str:
        """The end of the log."""
        if not self.log_path.exists():
            return ""
        text = self.log_path.read_bytes()[-16_384:].decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def has_said(self, words: str) -> bool:
        """Whether the words are in what the last child has logged."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return words.encode() in log.read()

    def _bury(self, family: list[psutil.Process]) -> None:
        child = self._child
        if child is None:
            return
        child.kill()
        child.wait()
        _kill_all([*family, *_session(child.pid)])
        self._note.unlink(missing_ok=True)

    def _write_note(self, pid: int) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            note = {"pid": pid, "born": psutil.Process(pid).create_time()}
            self._note.write_text(json.dumps(note))

    def _end_leftover(self) -> None:
        if not self._note.exists():
            return
        note = json.loads(self._note.read_text())
        with contextlib.suppress(psutil.NoSuchProcess):
            left = psutil.Process(note["pid"])
            if abs(left.create_time() - note["born"]) < 1.0:  # else the pid is another's by now
                _kill_all([left, *_family(left.pid), *_session(left.pid)])
        self._note.unlink()


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie that its new parent is slow to reap does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], *, seconds: float, interval: float = 0.02) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


@cache
def _nursery(_process: int) -> ThreadPoolExecutor:
    """The one thread that starts children, for each process (a fork has none of the threads).

    Linux sends the parent-death signal when the *thread* that forked ends, so children must
    not be started from a thread that is short-lived.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="nursery")


def _dies_with_us(death_signal: signal.Signals) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    prctl, us = _LIBC.prctl, os.getpid()

    def in_the_child() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != us:  # we died before the child had asked to be told
            os._exit(1)

    return in_the_child


def group_of(user: str | None) -> int | None:
    """The user's own group."""
    if user is None:
        return None
    return pwd.getpwnam(user).pw_gid


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _session(leader: int) -> list[psutil.Process]:
    """Who is left of the leader's session, also when the leader is gone."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getsid(pid) == leader:
                found.append(psutil.Process(pid))
    return found


def _kill_all(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    wait_until(lambda: not any(map(is_alive, processes)), seconds=10)
