"""One stack at a time in a data folder."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO


class FolderTaken(RuntimeError):
    """Another stack runs in this folder."""


class FolderLock:
    """A lock that ends with its process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def take(self) -> None:
        """Take it, or raise FolderTaken; nothing if it is ours already."""
        if self._file:
            return
        file = self._path.open("wb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise FolderTaken(f"another stack runs in {self._path.parent}") from None
        self._file = file

    def release(self) -> None:
        """Let the next one in."""
        if self._file:
            self._file.close()
            self._file = None
