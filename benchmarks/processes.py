"""CPU time and memory of processes and their descendants, looked at from outside."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)
_EVERY_SECONDS = 0.2
_LISTED = any(Path("/proc/self/task").glob("*/children"))

TOOL = "tool"
"""Role of the programs that this process runs and waits for; they end before anybody asks."""


@dataclass(frozen=True)
class Tree:
    """A process, with its descendants or alone; the memory of some is not of interest."""

    pid: int
    descendants: bool = True
    memory: bool = True

    def members(self) -> Iterator[tuple[str, psutil.Process]]:
        """Those that live now, each with what it is to the first one: nothing, or a child."""
        for pid in family(self.pid) if self.descendants else [self.pid]:
            with contextlib.suppress(psutil.Error):
                yield "" if pid == self.pid else " child", psutil.Process(pid)

    def cpu(self) -> float:
        """CPU-seconds so far, those of descendants that have ended included."""
        total = 0.0
        for _, process in self.members():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
                if self.descendants:
                    total += times.children_user + times.children_system
        return total


Trees = Callable[[], Mapping[str, Tree]]
"""The processes to watch just now, by role."""


@dataclass(frozen=True)
class Watched:
    """One process while it was watched: its role, and in which phase of the run."""

    phase: str
    role: str
    pid: int


class Watch:
    """Samples peak memory five times a second, and adds up CPU time when asked.

    Where Linux is the system, its own high-water mark is read, which misses no peak
    between two samples.
    """

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._phase = ""
        self._peaks: dict[Watched, int] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def cpu(self) -> dict[str, float]:
        """CPU-seconds so far, by role."""
        return {role: tree.cpu() for role, tree in self._trees().items()} | {TOOL: _waited_for()}

    @property
    def peaks(self) -> dict[Watched, int]:
        """Highest resident memory of each process, in bytes."""
        with self._lock:
            return dict(self._peaks)

    @contextmanager
    def peak_of(self, role: str) -> Iterator[Callable[[], int | None]]:
        """Ask what yields for the most memory that one process of a role has had within."""
        self.look()
        tree = self._trees().get(role)
        members = [process for _, process in tree.members()] if tree else []
        for process in members:
            _forget_peak(process.pid)
        yield lambda: largest(process.pid for process in members)

    def look(self) -> None:
        """Take one sample of everything now."""
        with self._lock:
            for role, process in self._remembering():
                watched = Watched(self._phase, role, process.pid)
                with contextlib.suppress(psutil.Error, OSError):
                    peak = peak_memory(process)
                    self._peaks[watched] = max(peak, self._peaks.get(watched, 0))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what is seen within as part of a phase, from a fresh mark."""
        self.look()
        for _, process in self._remembering():
            _forget_peak(process.pid)
        self._phase = name
        yield
        self.look()
        self._phase = ""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sample beside what is done meanwhile."""
        thread = threading.Thread(target=self._run, name="watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_EVERY_SECONDS):
            self.look()

    def _remembering(self) -> Iterator[tuple[str, psutil.Process]]:
        for role, tree in self._trees().items():
            if tree.memory:
                yield from ((role + suffix, process) for suffix, process in tree.members())


def _waited_for() -> float:
    times = psutil.Process().cpu_times()
    return float(times.children_user + times.children_system)


def peak_memory(process: psutil.Process) -> int:
    """Highest resident memory of a process so far, or at least its present one."""
    status = Path(f"/proc/{process.pid}/status")
    found = _PEAK.search(status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else int(process.memory_info().rss)


def family(pid: int) -> list[int]:
    """A process and its descendants, as far as they live.

    Linux keeps a list, which is read in a fraction of the time that a look at every process
    of the machine takes.
    """
    if not _LISTED:
        with contextlib.suppress(psutil.Error):
            return [pid, *(one.pid for one in psutil.Process(pid).children(recursive=True))]
    found = [pid]
    with contextlib.suppress(OSError):  # it ends meanwhile
        for listed in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in listed.read_text().split():
                found += family(int(child))
    return found


def largest(pids: Iterable[int]) -> int | None:
    """The highest memory that one of these processes has had so far, in bytes."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error, OSError):
            found.append(peak_memory(psutil.Process(pid)))
    return max(found, default=None)


def _forget_peak(pid: int) -> None:
    """Let Linux begin its high-water mark anew; where that is refused, it stays as it is."""
    mark = Path(f"/proc/{pid}/clear_refs")
    if mark.exists():
        with contextlib.suppress(OSError):
            mark.write_text("5")
