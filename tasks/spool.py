"""The spool: the only folders whose files the fleet reads and writes.

Every path is walked from its spool folder one component at a time, each opened
relative to the one before and never through a symbolic link, so nothing that is
swapped during the walk or after it can lead outside.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from argosy.errors import (
    DestinationError,
    DestinationExists,
    DestinationOutsideSpool,
    DestinationUnwritable,
    DiskFull,
    Error,
    SourceChanged,
    SourceMissing,
    SourceNotAFile,
    SourceOutsideSpool,
    SourceUnreadable,
)
from argosy.files import Fingerprint, hides_its_size
from argosy.spooled import why_outside

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Source:
    """An open file of the spool, to be read at offsets."""

    fd: int
    path: str
    fingerprint: Fingerprint

    def check_unchanged(self) -> None:
        """Raise SourceChanged if the file was written since it was opened."""
        if Fingerprint.of(self.fd) != self.fingerprint:
            raise _changed(self.path)


class Spool:
    """Opens files inside the spool folders."""

    def __init__(self, roots: tuple[Path, ...]) -> None:
        self._roots = roots

    @contextmanager
    def source(self, path: str, expected: dict[str, int] | None = None) -> Iterator[Source]:
        """Open a file to read, and check on the way out that it did not change.

        `expected` is the fingerprint that an earlier task took of it. Raises
        SourceOutsideSpool, SourceMissing, SourceNotAFile, SourceUnreadable,
        SourceChanged.
        """
        with self._folder(path, SourceOutsideSpool, _source_error) as (folder, name):
            fd = _open(name, _READ, folder, path, _source_error)
        try:
            source = Source(fd, path, _settled_fingerprint(fd, path))
            if expected is not None and source.fingerprint.document() != expected:
                raise _changed(path)
            with _read_from(path):
                yield source
            source.check_unchanged()
        except OSError as error:
            raise _source_error(error, path) from error
        finally:
            os.close(fd)

    @contextmanager
    def destination(self, path: str) -> Iterator[tuple[int, str]]:
        """The open folder and the last name of a file to be written.

        Raises DestinationOutsideSpool, DestinationUnwritable.
        """
        try:
            with self._folder(path, DestinationOutsideSpool, _destination_error) as found:
                yield found
        except OSError as error:
            raise _destination_error(error, path) from error

    @contextmanager
    def _folder(
        self, path: str, outside: type[Error], explain: Callable[[OSError, str], Error]
    ) -> Iterator[tuple[int, str]]:
        root, *folders, name = self._components(path, outside)
        fd = _open(root, _FOLDER, None, path, explain)
        try:
            for folder in folders:
                inner = _open(folder, _FOLDER, fd, path, explain)
                os.close(fd)
                fd = inner
            yield fd, name
        finally:
            os.close(fd)

    def _components(self, path: str, outside: type[Error]) -> list[str]:
        given = Path(path)
        for root in self._roots:
            if given.is_relative_to(root):
                parts = given.relative_to(root).parts
                if parts and ".." not in parts and "\0" not in path:
                    return [str(root), *parts]
        raise outside(why_outside(path, self._roots))


class Partial:
    """The file that a download grows in, beside its destination and named by its transfer."""

    def __init__(self, spool: Spool, destination: str, transfer_id: str) -> None:
        self._spool = spool
        self._destination = destination
        self._name = f".argosy-{transfer_id}.part"

    def create(self, size: int) -> None:
        """Reserve the space for `size` bytes.

        Raises DestinationExists, DestinationUnwritable, DestinationOutsideSpool
        and DiskFull; nothing is left behind then.
        """
        with self._spool.destination(self._destination) as (folder, name):
            if _exists(name, folder):
                raise _taken(self._destination)
            # Never cut: another worker of the same transfer may be writing it.
            ours = not _exists(self._name, folder)
            flags = _WRITE | os.O_CREAT
            fd = _open(self._name, flags, folder, self._destination, _destination_error)
            try:
                if size:
                    os.posix_fallocate(fd, 0, size)
            except OSError:
                if ours:
                    _unlink(self._name, folder)
                raise
            finally:
                os.close(fd)

    @contextmanager
    def open(self) -> Iterator[int]:
        """Its descriptor, to write at offsets. Raises DestinationUnwritable, DiskFull."""
        with self._spool.destination(self._destination) as (folder, _name):
            fd = _open(self._name, _WRITE, folder, self._destination, _destination_error)
        with self._closing(fd):
            yield fd

    @contextmanager
    def open_whole(self) -> Iterator[int]:
        """The descriptor of all the bytes, to verify and flush them.

        When the partial file is gone, a worker before us may have published it:
        then it is the file under the destination's name that is to be verified.
        """
        with self._spool.destination(self._destination) as (folder, name):
            whole = self._name if _exists(self._name, folder) else name
            fd = _open(whole, _WRITE, folder, self._destination, _destination_error)
        with self._closing(fd):
            yield fd

    def is_ours_alone(self) -> bool:
        """Whether the partial file is there, and never had a name that others know."""
        with self._spool.destination(self._destination) as (folder, _name):
            if not _exists(self._name, folder):
                return False
            return os.stat(self._name, dir_fd=folder, follow_symlinks=False).st_nlink == 1

    def publish(self) -> None:
        """Give the verified file its name, on disk for good. Never overwrites.

        Safe to repeat. Raises DestinationExists when somebody took the name meanwhile.
        """
        with self._spool.destination(self._destination) as (folder, name):
            if _exists(self._name, folder):
                self._link(folder, name)
                _unlink(self._name, folder)
            os.fsync(folder)

    def remove(self) -> None:
        """Remove what is left of an unfinished download."""
        with self._spool.destination(self._destination) as (folder, _name):
            _unlink(self._name, folder)

    def _link(self, folder: int, name: str) -> None:
        try:
            os.link(self._name, name, src_dir_fd=folder, dst_dir_fd=folder)
        except FileExistsError:
            if not self._is_linked(folder, name):
                raise _taken(self._destination) from None

    def _is_linked(self, folder: int, name: str) -> bool:
        here = os.stat(name, dir_fd=folder, follow_symlinks=False)
        return os.path.samestat(here, os.stat(self._name, dir_fd=folder, follow_symlinks=False))

    @contextmanager
    def _closing(self, fd: int) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _destination_error(error, self._destination) from error
        finally:
            os.close(fd)


def _settled_fingerprint(fd: int, path: str) -> Fingerprint:
    """The fingerprint, taken once the last write is older than a tick of the file clock."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise SourceNotAFile(f"{path} is not a regular file: give the path of a file.")
    if hides_its_size(fd):
        raise SourceNotAFile(f"{path} does not say its size before it is read: give a copy of it.")
    return Fingerprint.settled(fd)


def _open(
    name: str,
    flags: int,
    folder: int | None,
    path: str,
    explain: Callable[[OSError, str], Error],
) -> int:
    try:
        return os.open(name, flags, 0o666, dir_fd=folder)  # the umask decides
    except OSError as error:
        raise explain(error, path) from error


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _unlink(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


@contextmanager
def _read_from(path: str) -> Iterator[None]:
    """What fails while a file is read says which file, and what to do."""
    try:
        yield
    except SourceChanged as error:
        raise _changed(path) from error
    except SourceUnreadable as error:
        raise SourceUnreadable(f"{path}: {error.message}.") from error


def _changed(path: str) -> SourceChanged:
    return SourceChanged(
        f"{path} was written, cut or replaced while it was sent: "
        "upload it again once nothing writes to it."
    )


def _taken(path: str) -> DestinationExists:
    return DestinationExists(f"{path} exists already: choose another name or remove it.")


def _source_error(error: OSError, path: str) -> Error:
    if error.errno == errno.ENOENT:
        return SourceMissing(f"{path} does not exist.")
    if error.errno == errno.ELOOP:
        return SourceOutsideSpool(f"{path} is a symbolic link: give the real path of a file.")
    if error.errno == errno.ENOTDIR:
        return SourceOutsideSpool(f"{path} crosses something that is not a real folder.")
    if error.errno == errno.ENXIO:
        return SourceNotAFile(f"{path} is not a regular file: give the path of a file.")
    return SourceUnreadable(f"{path} cannot be read by the fleet: {os.strerror(error.errno or 0)}.")


def _destination_error(error: OSError, path: str) -> DestinationError:
    if error.errno in _FULL:
        return DiskFull(f"There is no room for {path} on its disk: free some and try again.")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return DestinationOutsideSpool(f"{path} crosses a symbolic link or something no folder.")
    reason = os.strerror(error.errno or 0)
    return DestinationUnwritable(f"{path} cannot be written by the fleet: {reason}.")
