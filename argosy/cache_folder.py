"""The cache's folder: its lock, its books, and the files on their way into it."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from argosy.cache_entry import opened, size_of
from argosy.files import write_at
from argosy.locks import let_go, own
from argosy.storage.checksum import plain_etag

log = logging.getLogger(__name__)

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

_told: set[str] = set()
"""Troubles that were logged: once each is enough."""


class Books:
    """The bytes in all, in the lock's own file: exact, or too many after a crash."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self) -> int | None:
        """What is used; None when nobody has counted yet."""
        text = os.pread(self._fd, 21, 0)
        return int(text) if re.fullmatch(rb"[0-9]{20}\n", text) else None

    def write(self, used: int) -> None:
        """So much is used."""
        os.pwrite(self._fd, b"%020d\n" % used, 0)

    def release(self, size: int) -> None:
        """So much is not used any more."""
        used = self.read()
        if used is not None:
            self.write(max(0, used - size))


@contextmanager
def locked(folder: Path) -> Iterator[Books]:
    """Alone among all threads and processes, for a short while. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    coming(folder).mkdir(mode=0o700, exist_ok=True)
    _check_private(folder)
    fd = own(os.open(folder / "lock", _LOCK, 0o600))
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield Books(fd)
    finally:
        let_go(fd)


def coming(folder: Path) -> Path:
    """Where files on their way in are."""
    return folder / "new"


def used_in(folder: Path) -> int:
    """Bytes of all entries and of what is on its way in; 0 where that cannot be told."""
    try:
        with opened(folder / "lock") as fd:
            return Books(fd).read() or 0
    except OSError:
        return 0


def tag_of(etag: str) -> str:
    """What of an ETag is in an entry's name."""
    return hashlib.sha256(plain_etag(etag).encode()).hexdigest()[:16]


class Insertion:
    """A file on its way into the cache, written from beginning to end by one thread.

    A disk that does not take it ends the insertion, not the caller.
    """

    def __init__(self, folder: Path, fd: int, path: Path, size: int) -> None:
        self._folder = folder
        self._fd: int | None = fd
        self._path = path
        self._size = size
        self._written = 0

    def write(self, block: bytes) -> None:
        """The next bytes."""
        if self._fd is None:
            return
        try:
            write_at(self._fd, block, self._written)
            self._written += len(block)
        except OSError as error:
            tell_once(error)
            self.discard()

    def commit(self, sha256: str, etag: str) -> bool:
        """Make it an entry; `sha256` is that of the bytes written, `etag` the object's."""
        fd = self._fd
        if fd is None or self._written != self._size:
            self.discard()
            return False
        name = f"{sha256}-{tag_of(etag)}"
        return self._leave(lambda books: self._enter(fd, name, books))

    def discard(self) -> None:
        """Leave nothing of it. Safe to repeat, and after `commit`."""
        if self._fd is not None:
            self._leave(self._remove)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.discard()

    def _enter(self, fd: int, name: str, books: Books) -> None:
        entry = self._folder / name[:2] / name
        entry.parent.mkdir(mode=0o700, exist_ok=True)
        before = size_of(entry)  # what has the name goes: it may not be sound
        os.fchmod(fd, 0o400)
        os.utime(fd)
        self._path.rename(entry)
        books.release(before)  # last: after a crash it is too much, never too little

    def _remove(self, books: Books) -> None:
        self._path.unlink(missing_ok=True)
        books.release(self._size)

    def _leave(self, how: Callable[[Books], None]) -> bool:
        try:
            with locked(self._folder) as books:
                how(books)
        except OSError as error:  # what stays is swept, since nobody holds its lock
            tell_once(error)
            return False
        finally:
            self._close()
        return True

    def _close(self) -> None:
        if self._fd is not None:
            let_go(self._fd)
            self._fd = None


def begin(folder: Path, size: int) -> Insertion:
    """A file on its way in, for which there is room; the folder is locked. Raises OSError."""
    path = coming(folder) / secrets.token_hex(16)
    fd = own(os.open(path, _NEW, 0o600))
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # as long as the process lives: what has no lock is swept
        os.ftruncate(fd, size)
    except OSError:
        let_go(fd)
        raise
    return Insertion(folder, fd, path, size)


def _check_private(folder: Path) -> None:
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "not this user's alone: chmod 700")


def tell_once(error: OSError | RuntimeError) -> None:
    """Log that the cache cannot be used, and why."""
    reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
    if reason not in _told:
        _told.add(reason)
        log.warning("cache.unusable", extra={"reason": reason})
