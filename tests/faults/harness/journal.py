"""The harness's own book: what it asked, what was answered, what it broke, and when."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One line; `at` in seconds since the run began."""

    at: float
    what: str
    facts: dict[str, Any]


class Journal:
    """JSON lines, on disk before the next thing happens. Any thread may write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.began = time.time()
        self.entries: list[Entry] = []
        self._file = path.open("a")
        self._lock = threading.Lock()

    def note(self, what: str, **facts: Any) -> None:
        """Write a line."""
        with self._lock:
            entry = Entry(round(time.time() - self.began, 3), what, facts)
            self._file.write(json.dumps({"at": entry.at, "what": what, **facts}) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            self.entries.append(entry)

    def of(self, *whats: str) -> list[Entry]:
        """The entries of some kinds, in order."""
        return [entry for entry in self.entries if entry.what in whats]
