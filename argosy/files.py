"""Files of this machine: what tells that one has changed, and writing at offsets."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass

CLOCK_TICK_SECONDS = 0.05
"""File times advance in steps: a write within one step of the last leaves no mark."""


@dataclass(frozen=True)
class Fingerprint:
    """What changes when a file does. `ctime` cannot be set back by a program.

    Without the device: hosts that share a spool number it differently.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, fd: int) -> Fingerprint:
        """The fingerprint of an open file."""
        status = os.fstat(fd)
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    @classmethod
    def settled(cls, fd: int) -> Fingerprint:
        """The same, taken once the last write is older than a tick of the file clock."""
        age = time.time() - os.fstat(fd).st_ctime
        if 0 <= age < CLOCK_TICK_SECONDS:
            time.sleep(CLOCK_TICK_SECONDS - age)  # no wait for a condition: lets the clock tick
        return cls.of(fd)

    def document(self) -> dict[str, int]:
        """As JSON."""
        return asdict(self)


def hides_its_size(fd: int) -> bool:
    """Whether a regular file says that it is empty and is not, as those of /proc do."""
    try:
        # Looked at twice: one that has grown meanwhile is a file like any other.
        return not os.fstat(fd).st_size and bool(os.pread(fd, 1, 0)) and not os.fstat(fd).st_size
    except OSError:  # nobody knows what is in it
        return True


def write_at(fd: int, block: bytes | memoryview, offset: int) -> None:
    """Write all of a block at an offset. Raises OSError."""
    view = memoryview(block)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written
