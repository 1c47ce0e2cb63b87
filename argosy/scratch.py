"""Private folders for files that somebody looks at and that go again, also after a SIGKILL.

Each is locked (flock) by the process that made it. What a killed one has left is removed
when the next folder is made.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from argosy.locks import let_go, own

PREFIX = "argosy-files-"
YOUNG_SECONDS = 60
"""A folder is not locked in the moment in which it is made."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that only this user may enter, where `tempfile` puts such things (TMPDIR).

    Raises OSError when it cannot be made.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as made:
        fd = own(_open(made))
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(made)
        finally:
            let_go(fd)


def _sweep(parent: Path) -> None:
    for found in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # it is another user's, or gone, or in use
            _remove_left(found)


def _remove_left(folder: Path) -> None:
    """Remove a folder whose process is gone. Raises OSError for any other."""
    fd = _open(str(folder))
    try:
        status = os.fstat(fd)
        if status.st_uid == os.getuid() and time.time() - status.st_mtime > YOUNG_SECONDS:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(fd)


def _open(folder: str) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
