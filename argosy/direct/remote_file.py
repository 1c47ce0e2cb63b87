"""A stored file, read like one on disk: seekable, and read ahead while it is read in order.

Of one that is stored compressed only the frames that are read are fetched and decoded, and
its table of frames, once.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import Context
from typing import TYPE_CHECKING, NoReturn

from argosy.account import Account
from argosy.coding.frames import FRAME_BYTES
from argosy.deadline import Deadline
from argosy.direct.crew import Crew, Job, ending
from argosy.direct.verdict import mismatch
from argosy.errors import Error
from argosy.options import DownloadOptions
from argosy.reference import FileReference
from argosy.sizes import MIB
from argosy.storage.content import Content
from argosy.storage.s3 import ObjectStore

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SMALLEST_WINDOW = 256 * 1024
LARGEST_WINDOW = 8 * MIB
"""Bytes; two windows are in memory: the one that is read, and the next one on its way."""


class RemoteFile(io.RawIOBase):
    """A read-only file object over a stored file; any thread may read, one at a time.

    All reads are of one version of the object. Who reads all of it in order gets its last
    bytes only if SHA-256 is what the reference says; what is read here and there cannot be
    verified. `read` gives as many bytes as are asked for, unless the file ends. The options'
    deadline is for each read, `deadline` for all of them together.

    Raises ObjectNotFound, ChecksumMismatch (another size) and ExpansionTooLarge when it is
    opened; StorageUnavailable, ObjectChanged, ChecksumMismatch and DeadlineExceeded when it
    is read.
    """

    mode = "rb"

    def __init__(
        self,
        account: Account,
        reference: FileReference,
        options: DownloadOptions | None = None,
        *,
        deadline: Deadline | None = None,
    ) -> None:
        super().__init__()
        self.name = reference.name
        self.reference = reference
        self._account = account
        self._deadline = deadline
        self._seconds = (options or DownloadOptions()).deadline_seconds
        self._position = 0
        self._here: _Window | None = None
        self._ahead: _Window | None = None
        self._digest = hashlib.sha256()
        self._hashed = 0
        self._own()
        self._content = self._look()
        if not reference.size:
            self._hash(0, b"")

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self.reference.size

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go elsewhere; past the end is allowed, and gives nothing to read."""
        self._check_open()
        origins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}
        if whence not in origins:
            raise ValueError(f"whence is {whence}: 0, 1 or 2.")
        if origins[whence] + offset < 0:
            raise ValueError(f"{self.name} has nothing before its beginning: seek to 0 or more.")
        self._position = origins[whence] + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer, unless the file ends; how many bytes it got."""
        with memoryview(buffer) as view, view.cast("B") as plain, self._alone():
            count = min(len(plain), self._left)
            filled = 0
            for piece in self._pieces(count):
                plain[filled : filled + len(piece)] = piece
                filled += len(piece)
        return count

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes, or all that are left."""
        with self._alone():
            count = self._left if size is None or size < 0 else min(size, self._left)
            return b"".join(bytes(piece) for piece in self._pieces(count))

    def readall(self) -> bytes:
        """All bytes that are left."""
        return self.read()

    def write(self, _data: object, /) -> NoReturn:
        """Raises UnsupportedOperation: a stored file is replaced, never written to."""
        raise io.UnsupportedOperation("not writable")

    def close(self) -> None:
        """Forget what was read ahead; nothing can be read any more."""
        with self._alone():
            self._forget()
            super().close()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("An open file cannot be pickled: pass its reference, and open that.")

    @property
    def _left(self) -> int:
        self._check_open()
        return max(0, self.size - self._position)

    def _alone(self) -> threading.RLock:
        """The lock of whoever reads; a forked child has no threads to wait for, nor theirs."""
        if self._pid != os.getpid():
            self._own()
        return self._lock

    def _own(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._here = self._ahead = None

    def _end(self) -> Deadline:
        """Of all reads together if it was given so, else of the next one."""
        return self._deadline or Deadline(self._seconds or self._account.settings.deadline_seconds)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.name} is closed: open it again.")

    def _look(self) -> Content:
        """The version that is read. Raises ObjectNotFound, ChecksumMismatch, ExpansionTooLarge."""
        deadline, expansion = self._end(), self._account.settings.expansion
        content = Content(self._store(deadline), self.reference, expansion=expansion)
        try:
            content.check_expansion()
            with Crew(deadline) as crew:
                crew.result(content.head)
        except Error as error:
            raise error.about(str(self.reference.id)) from error
        return content

    def _store(self, deadline: Deadline) -> ObjectStore:
        return self._account.store(deadline.limit(self._account.retries()))

    def _pieces(self, count: int) -> Iterator[memoryview]:
        """The next bytes, as they lie in memory; the position moves once all were taken."""
        deadline, position = self._end(), self._position
        while count:
            piece = self._window(position, count, deadline).cut(position, count)
            self._hash(position, piece)
            yield piece
            position += len(piece)
            count -= len(piece)
        self._position = position

    def _hash(self, position: int, piece: memoryview | bytes) -> None:
        """Follow a pass in order. Raises ChecksumMismatch instead of giving its last bytes."""
        end = position + len(piece)
        if position <= self._hashed < end:
            self._digest.update(piece[self._hashed - position :])
            self._hashed = end
        is_whole = self._hashed == end == self.size
        if is_whole and self._digest.hexdigest() != self.reference.sha256:
            error = mismatch(self.reference, self._digest.hexdigest())
            raise error.about(str(self.reference.id))

    def _window(self, position: int, wanted: int, deadline: Deadline) -> _Window:
        """The window that has the bytes at `position`, arrived."""
        here = self._here
        if here is None or not here.start <= position < here.end:
            here = self._move(position, wanted, deadline)
        try:
            with Crew(deadline) as crew:
                crew.wait([here.job])
        except Error as error:
            self._forget()
            raise error.about(str(self.reference.id)) from error
        return here

    def _move(self, position: int, wanted: int, deadline: Deadline) -> _Window:
        """Make the window at `position` the current one; read ahead when that is in order.

        What failed on its way ahead is no read's failure yet: it is asked for anew.
        """
        before, ahead = self._here, self._ahead
        if before is None or position != before.end:
            self._forget()
            size = max(SMALLEST_WINDOW, min(wanted, LARGEST_WINDOW))
            self._here = self._begin(position, size, deadline)
            return self._here
        size = min(2 * (before.end - before.start), LARGEST_WINDOW)
        if ahead is None or ahead.job.error:
            ahead = self._begin(position, max(size, min(wanted, LARGEST_WINDOW)), deadline)
        here = self._here = ahead
        del before  # its bytes go before the next ones come
        self._ahead = None
        if here.end < self.size:
            # The read that begins it may be over, or called off, before it is wanted.
            nobodys = self._deadline or Context().run(Deadline)
            self._ahead = self._begin(here.end, min(2 * size, LARGEST_WINDOW), nobodys)
        return here

    def _begin(self, start: int, length: int, deadline: Deadline) -> _Window:
        end = start + length
        if self.reference.encoding:  # no frame is decoded for two windows
            start -= start % FRAME_BYTES
            end = start + -(-(end - start) // FRAME_BYTES) * FRAME_BYTES
        get = self._content.using(self._store(deadline)).get
        return _Window(start, min(end, self.size) - start, get, deadline)

    def _forget(self) -> None:
        for window in (self._here, self._ahead):
            if window:
                window.crew.end()
        self._here = self._ahead = None


class _Window:
    """A stretch of the file, from `start` to `end`, on its way or here."""

    def __init__(
        self,
        start: int,
        length: int,
        get: Callable[[int, int], Iterator[bytes]],
        deadline: Deadline,
    ) -> None:
        self.start, self.end = start, start + length
        self.crew = Crew(deadline)
        # Here, not in the thread: the allocator would keep some for each thread that ever was.
        self._data = bytearray(length)
        self.job = Job(lambda: self._fetch(get))

    def cut(self, position: int, count: int) -> memoryview:
        """The bytes from `position` on, at most `count` and what is here."""
        first = position - self.start
        return memoryview(self._data)[first : first + count]

    def _fetch(self, get: Callable[[int, int], Iterator[bytes]]) -> None:
        """All of it. Raises CalledOff when nobody wants it any more."""
        filled = 0
        with ending(get(self.start, len(self._data))) as blocks:
            for block in blocks:
                self.crew.check()
                self._data[filled : filled + len(block)] = block
                filled += len(block)
