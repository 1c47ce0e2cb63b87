"""What is uploaded, where its length is known: a file on disk, or bytes in memory."""

from __future__ import annotations

import errno
import io
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from argosy.errors import (
    InvalidRequest,
    SourceChanged,
    SourceError,
    SourceMissing,
    SourceNotAFile,
    SourceUnreadable,
)
from argosy.files import Fingerprint, hides_its_size
from argosy.storage.body import Body, BytesBody, FileRange

NAMELESS = "file"
"""The name of what has none."""
_AS_A_STREAM = "read it as a stream (upload_stream, or `argosy upload - --name NAME`)"
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "it is a folder: give the path of a file"),
    (stat.S_ISSOCK, "it is a socket: give the path of a file"),
    (stat.S_ISFIFO, f"it is a pipe: {_AS_A_STREAM}"),
    (stat.S_ISCHR, f"it is a device: {_AS_A_STREAM}"),
    (stat.S_ISBLK, f"it is a device: {_AS_A_STREAM}"),
)
"""What is no file, and what to do."""
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # opening a FIFO must not wait for its writer


class Source(Protocol):
    """Bytes that can be read again, in ranges, by several threads."""

    name: str
    """The file's name for people."""
    size: int
    path: str | None
    """What names it for another process; None for what only this one has."""
    fingerprint: dict[str, int]
    """What changes when the bytes do."""

    def body(self, offset: int, length: int, on_bytes: Callable[[int], None] | None = None) -> Body:
        """A range of it, to be sent."""

    def check_unchanged(self) -> None:
        """Raise SourceChanged if the bytes may not be what they were."""


class FileSource:
    """An open regular file, from `start` to its end. Its own position stays where it is."""

    def __init__(self, fd: int, name: str, *, start: int = 0, path: str | None = None) -> None:
        self._fd = fd
        self._start = start
        self._print = Fingerprint.settled(fd)
        self.name = name
        self.path = path
        self.size = max(0, self._print.size - start)
        self.fingerprint = self._print.document()

    def body(
        self, offset: int, length: int, on_bytes: Callable[[int], None] | None = None
    ) -> FileRange:
        """A range of it, to be sent."""
        return FileRange(self._fd, self._start + offset, length, on_bytes)

    def check_unchanged(self) -> None:
        """Raise SourceChanged if the file was written since."""
        if Fingerprint.of(self._fd) != self._print:
            raise SourceChanged("it was written, cut or replaced while it was sent")


class MemorySource:
    """Bytes of the caller's, which leaves them alone meanwhile."""

    path: str | None = None

    def __init__(self, content: memoryview, name: str) -> None:
        self._content = content
        self.name = name
        self.size = len(content)
        self.fingerprint: dict[str, int] = {}

    def body(
        self, offset: int, length: int, on_bytes: Callable[[int], None] | None = None
    ) -> MemoryRange:
        """A range of it, to be sent, without a copy."""
        return MemoryRange(self._content[offset : offset + length], on_bytes)

    def check_unchanged(self) -> None:
        """Nothing tells: what was sent is compared with its checksums at the end."""


class MemoryRange(BytesBody):
    """Bytes in memory as a body; `on_bytes` hears of them as FileRange's does."""

    def __init__(
        self, content: bytes | memoryview, on_bytes: Callable[[int], None] | None = None
    ) -> None:
        super().__init__(content)  # type: ignore[arg-type]  # it takes a view of it
        self._on_bytes = on_bytes
        self._reported = 0

    def blocks(self) -> Iterator[memoryview]:
        """A fresh pass, without a copy."""
        self._report(-self._reported)
        for block in super().blocks():
            yield block
            self._report(len(block))

    def _report(self, count: int) -> None:
        self._reported += count
        if self._on_bytes and count:
            self._on_bytes(count)


def has_length(file: Any) -> bool:
    """Whether it is a path, bytes, or a regular file: all else is read as a stream."""
    return isinstance(file, str | os.PathLike | bytes | bytearray | memoryview) or bool(
        _regular(file)
    )


@contextmanager
def opened(file: str | os.PathLike[str] | bytes | BinaryIO) -> Iterator[Source]:
    """What `has_length`, to be read; the caller's own file object stays open.

    Raises SourceMissing, SourceNotAFile, SourceUnreadable; what is raised within about
    the file is made to name it.
    """
    if isinstance(file, bytes | bytearray | memoryview):
        yield MemorySource(plain_view(file), NAMELESS)
    elif isinstance(file, str | os.PathLike):
        with _opened_path(os.fsdecode(file)) as source:
            yield source
    else:
        with _named(name_of(file)):
            raw = _regular(file)
            if raw is None:
                raise InvalidRequest(f"{file!r:.80} is no file.")
            yield FileSource(raw.fileno(), name_of(file), start=_position(file))


def plain_view(content: bytes | bytearray | memoryview) -> memoryview:
    """The bytes as bytes, copied only where they do not lie side by side."""
    view = memoryview(content)
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


def name_of(file: Any) -> str:
    """The name of a file object, if it has one."""
    name = getattr(file, "name", None)
    if isinstance(name, str | bytes | os.PathLike):
        return _readable(os.path.basename(os.fsdecode(name))) or NAMELESS  # noqa: PTH119
    return NAMELESS


@contextmanager
def _opened_path(path: str) -> Iterator[FileSource]:
    with _named(path or repr(path)):
        fd = _open(path)
        try:
            if hides_its_size(fd):
                raise SourceNotAFile(f"its size is not known before it is read: {_AS_A_STREAM}")
            real = os.path.realpath(path)
            yield FileSource(fd, _readable(os.path.basename(real)), path=real)  # noqa: PTH119
        finally:
            os.close(fd)


def _open(path: str) -> int:
    """Open a regular file. Raises SourceMissing, SourceNotAFile, SourceUnreadable."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        raise SourceMissing("there is no such file") from None
    except ValueError:  # a NUL in it
        raise SourceMissing("no file can have such a name") from None
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise SourceNotAFile(_no_file(Path(path).stat().st_mode)) from None
        raise SourceUnreadable(f"it cannot be read: {error.strerror}") from error
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise SourceNotAFile(_no_file(mode))
    return fd


def _no_file(mode: int) -> str:
    said = (said for is_it, said in _KINDS if is_it(mode))
    return next(said, "it is no regular file: give the path of one")


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Errors about the file say which, and what to do."""
    try:
        yield
    except SourceChanged as error:
        advice = "upload it again once nothing writes to it"
        raise SourceChanged(f"{path}: {error.message}; {advice}.", error.transfer_id) from error
    except SourceError as error:
        raise type(error)(f"{path}: {error.message}.", error.transfer_id) from error


def _regular(file: Any) -> io.FileIO | None:
    """The regular file that an object reads as it is: not one that unpacks or decodes it.

    Nor one whose size shows only as it is read.
    """
    if isinstance(file, tempfile._TemporaryFileWrapper):
        file = file.file
    raw = getattr(file, "raw", file)
    if not isinstance(raw, io.FileIO) or isinstance(file, io.TextIOBase) or raw.closed:
        return None
    if not raw.readable() or not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        return None
    return None if hides_its_size(raw.fileno()) else raw


def _position(file: Any) -> int:
    if file.writable():
        file.flush()
    return int(file.tell())


def _readable(name: str) -> str:
    """The name without the bytes that are no text."""
    return name.encode(errors="replace").decode()
