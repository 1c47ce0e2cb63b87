"""Where a download goes: a file that grows beside its name, and gets it once it is whole.

A process that is killed leaves `.argosy-<key>.part`, and never anything under the name.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from argosy.direct.new_name import give_name
from argosy.errors import DestinationError, DestinationExists, DestinationUnwritable, DiskFull
from argosy.locks import let_go, own
from argosy.naming import safe_name
from argosy.sizes import MIB

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_ALLOCATION = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_RESERVED_AT_ONCE = 64 * MIB
"""Bytes: where a file system cannot allocate, libc writes into every block of them."""
_LONGEST_NAME = 255
"""Bytes of UTF-8: the limit of most file systems."""
_JOINERS = "\u200c\u200d"
"""Invisible, but part of how Persian words and some emoji are written."""


@dataclass(frozen=True)
class Destination:
    """A name in an open folder. Every method raises what `explained` makes of an OSError."""

    path: Path
    folder: int

    @property
    def key(self) -> dict[str, str]:
        """What tells this destination from all others, whichever way it was named."""
        return {"folder": os.path.realpath(self.path.parent), "name": self.path.name}

    def check_free(self) -> None:
        """Raise DestinationExists when something has the name."""
        if _exists(self.path.name, self.folder):
            raise _taken(self.path)

    @contextmanager
    def partial(self, owner: str) -> Iterator[Partial]:
        """The file to write, that nobody else writes. It has no room yet.

        The same `owner` finds the same file again after a crash. While another call is at
        it one gets a file of one's own, which goes when the block is left.
        """
        key = hashlib.sha256(f"{owner}/{self.path.name}".encode(errors="surrogateescape"))
        name = f".argosy-{key.hexdigest()[:32]}.part"
        fd = _open_alone(name, self.folder)
        is_lasting = fd is not None
        if fd is None:
            name = f".argosy-{secrets.token_hex(16)}.part"
            # The umask decides who may read it.
            fd = own(os.open(name, _WRITE | os.O_EXCL, 0o666, dir_fd=self.folder))
        partial = Partial(self, name, fd, is_lasting=is_lasting)
        try:
            yield partial
        finally:
            if not is_lasting:
                partial.remove()
            partial.close()


class Partial:
    """The bytes of a file that has no name yet. `fd` is open to read and write.

    `is_lasting` says whether another call would find it again.
    """

    def __init__(self, destination: Destination, name: str, fd: int, *, is_lasting: bool) -> None:
        self._destination = destination
        self._name = name
        self.fd = fd
        self.is_lasting = is_lasting

    @property
    def inode(self) -> int:
        """Another file of the same name has another one."""
        return os.fstat(self.fd).st_ino

    def reserve(self, size: int, check: Callable[[], None]) -> None:
        """Take the space of `size` bytes on the disk, which may last: `check` is asked meanwhile.

        Raises what `check` raises, and OSError where there is not enough.
        """
        if os.fstat(self.fd).st_size > size:
            os.ftruncate(self.fd, 0)
        _check_room(self.fd, size)
        for start in range(0, size, _RESERVED_AT_ONCE):
            check()
            _allocate(self.fd, start, min(_RESERVED_AT_ONCE, size - start))
        os.ftruncate(self.fd, size)

    def publish(self) -> None:
        """Give the file its name, on disk for good, or leave none. Never overwrites."""
        os.fsync(self.fd)
        folder, path = self._destination.folder, self._destination.path
        if not self._is_ours(self._name):
            raise self._lost()
        try:
            give_name(self._name, path.name, folder)
        except FileExistsError:
            raise _taken(path) from None
        if not self._is_ours(path.name):  # replaced in between: what is there was not verified
            os.unlink(path.name, dir_fd=folder)
            raise self._lost()
        try:
            self.remove()
            os.fsync(folder)
        except OSError:
            self._remove(path.name)
            raise

    def remove(self) -> None:
        """Have it go, if it is still ours. Safe to repeat."""
        self._remove(self._name)

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            if self._is_ours(name):
                os.unlink(name, dir_fd=self._destination.folder)

    def _is_ours(self, name: str) -> bool:
        """Whether a name in the folder stands for the file that is open here."""
        try:
            found = os.stat(name, dir_fd=self._destination.folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(found, os.fstat(self.fd))

    def _lost(self) -> DestinationUnwritable:
        return DestinationUnwritable(
            f"{self._destination.path}: somebody removed its partial file meanwhile: call again."
        )

    def close(self) -> None:
        """Leave it to the next."""
        let_go(self.fd)


@contextmanager
def destination(said: str | os.PathLike[str], name: str) -> Iterator[Destination]:
    """Where `said` leads: a folder gets the file under `name`, made safe.

    What ends in a slash is a folder, and has to be there. Raises DestinationUnwritable,
    DestinationExists, DiskFull, here and for every OSError in the block.
    """
    given = Path(said)
    try:
        _check_folder(os.fspath(said), given)
        path = given / local_name(name, given) if given.is_dir() else given
        folder = os.open(path.parent, _FOLDER)
    except (OSError, ValueError) as error:
        raise explained(error, given) from error
    try:
        found = Destination(path, folder)
        found.check_free()
        yield found
    except OSError as error:
        raise explained(error, path) from error
    finally:
        os.close(folder)


def local_name(name: str, folder: Path) -> str:
    """A file's name as this folder takes it: as it is for people, in one folder, and visible.

    Controls (those of writing direction too), separators and what does not fit are left
    out; where the file system takes no Unicode it is plain ASCII.
    """
    kept = "".join(_plain(character) for character in name).strip(" .")
    short = _shortened(kept)
    try:
        (folder / short).stat()
    except FileNotFoundError:
        pass
    except (OSError, UnicodeError):
        return safe_name(name)
    return short or safe_name(name)


def explained(error: OSError | ValueError, path: Path) -> DestinationError:
    """The error for a failure of the disk, or for a path that is none."""
    if isinstance(error, ValueError):
        return DestinationUnwritable(f"{str(path)!r} is no path: {error}.")
    if error.errno in _FULL:
        return DiskFull(f"There is no room for {path} on its disk: free some and try again.")
    reason = os.strerror(error.errno or 0)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return DestinationUnwritable(f"{path} cannot be written: its folder is missing: make it.")
    return DestinationUnwritable(f"{path} cannot be written: {reason}: choose another folder.")


def _check_folder(said: str, given: Path) -> None:
    """A Path forgets the slash at the end: without this a file would get the folder's name."""
    if os.path.basename(said) not in ("", ".") or given.is_dir():  # noqa: PTH119
        return
    if given.exists():
        raise DestinationUnwritable(f"{said} cannot be written: it is no folder: name another.")
    raise DestinationUnwritable(
        f"{said} cannot be written: there is no such folder: make it first."
    )


def _plain(character: str) -> str:
    if character in "/\\":
        return "_"
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character if character in _JOINERS else ""
    return character


def _shortened(name: str) -> str:
    """At most as many bytes as a name may have, with its extension."""
    if len(name.encode()) <= _LONGEST_NAME:
        return name
    stem, _, extension = name.rpartition(".")
    suffix = f".{extension}" if stem and len(extension.encode()) <= 16 else ""
    room = _LONGEST_NAME - len(suffix.encode())
    return name.removesuffix(suffix).encode()[:room].decode(errors="ignore").rstrip(" .") + suffix


def _open_alone(name: str, folder: int) -> int | None:
    """The partial file of an earlier try, or a new one; None when it is not ours alone."""
    try:
        fd = own(os.open(name, _WRITE, 0o666, dir_fd=folder))
    except (FileExistsError, IsADirectoryError, PermissionError):
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            return None
        raise
    if _is_ours(fd) and _is_named(fd, name, folder):
        return fd
    let_go(fd)
    return None


def _is_ours(fd: int) -> bool:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by another call, or a file system without locks
        return False
    return True


def _is_named(fd: int, name: str, folder: int) -> bool:
    """Whether it is still there: another process may have published it before we had the lock."""
    found = os.fstat(fd)
    if found.st_nlink != 1:
        return False
    try:
        return os.path.samestat(found, os.stat(name, dir_fd=folder, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _check_room(fd: int, size: int) -> None:
    """Raise OSError where there cannot be enough.

    A file system that is asked for too much may take all there is before it says so, and
    meanwhile others have none.
    """
    disk, taken = os.fstatvfs(fd), os.fstat(fd).st_blocks * 512
    is_known = disk.f_blocks > 0
    if is_known and size > taken + disk.f_bfree * disk.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _allocate(fd: int, start: int, length: int) -> None:
    try:
        os.posix_fallocate(fd, start, length)
    except OSError as error:
        if error.errno not in _NO_ALLOCATION:
            raise


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _taken(path: Path) -> DestinationExists:
    return DestinationExists(f"{path} exists already: choose another name or remove it.")
