"""Locks on files (flock) that end with the process that took them, whatever it has forked.

A lock lasts as long as anybody has the file open: a child's copy would keep it long after its
parent was killed.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

_owned: set[int] = set()
"""Files open in this process, which a child closes as it begins."""


def own(fd: int) -> int:
    """An open file that is locked, or about to be; `let_go` gives it back."""
    _owned.add(fd)
    return fd


def let_go(fd: int) -> None:
    """Unlock and close it, unless that was done: in a child the number may be another file's."""
    if fd not in _owned:
        return
    with suppress(OSError):  # a file system without locks
        # A child that is being forked may have it open too: closing would not unlock it.
        fcntl.flock(fd, fcntl.LOCK_UN)
    _owned.discard(fd)
    os.close(fd)


def _close_all() -> None:
    while _owned:
        os.close(_owned.pop())


os.register_at_fork(after_in_child=_close_all)
