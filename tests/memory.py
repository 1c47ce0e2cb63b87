"""Peak resident memory of processes, as the kernel keeps it (VmHWM)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

SECONDS_BETWEEN_LOOKS = 0.1


class PeakMemory:
    """Watches process trees until it is left; children that come and go are seen too."""

    def __init__(self, roots: Callable[[], Iterable[tuple[str, int]]]) -> None:
        self._roots = roots
        self._peaks: dict[tuple[str, int], int] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    @property
    def megabytes(self) -> dict[str, float]:
        """The highest peak of each kind of process, in MB."""
        highest: dict[str, float] = {}
        for (name, _pid), peak in self._peaks.items():
            highest[name] = max(highest.get(name, 0.0), peak / 1e6)
        return highest

    def _watch(self) -> None:
        while not self._done.wait(SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        for name, pid in self._roots():
            for process in _tree(pid):
                kind = name if process.pid == pid else f"{name} child"
                key = kind, process.pid
                self._peaks[key] = max(self._peaks.get(key, 0), _peak(process.pid))


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _peak(pid: int) -> int:
    """Bytes; 0 for a process that has just ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines.get("VmHWM", "0 kB").split()[0]) * 1024
