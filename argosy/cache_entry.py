"""A file in the cache, to be read."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

BLOCK_BYTES = 1024 * 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Found:
    """An entry that is open: an eviction takes its name, not its bytes."""

    fd: int
    path: Path
    size: int

    def sha256(self, use: Callable[[bytes], None]) -> str:
        """SHA-256 of its `size` bytes, in hexadecimal; empty when the disk fails."""
        digest = hashlib.sha256()
        for offset in range(0, self.size, BLOCK_BYTES):
            try:
                block = os.pread(self.fd, BLOCK_BYTES, offset)
            except OSError:
                return ""
            digest.update(block)
            use(block)
        return digest.hexdigest()

    def touch(self) -> None:
        """It was used just now."""
        with suppress(OSError):
            os.utime(self.fd)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor to read it. Raises OSError, FileNotFoundError when it was just evicted."""
    fd = os.open(path, _READ)
    try:
        yield fd
    finally:
        os.close(fd)


def open_sized(path: Path, size: int) -> int | None:
    """A descriptor to read an entry; None for one of another size, or that cannot be read."""
    try:
        fd = os.open(path, _READ)
    except OSError as error:  # evicted just now, perhaps
        log.info("cache.unreadable", extra={"reason": os.strerror(error.errno or 0)})
        return None
    if os.fstat(fd).st_size == size:
        return fd
    os.close(fd)
    return None


def size_of(path: Path) -> int:
    """Bytes; 0 for a file that has just gone."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
