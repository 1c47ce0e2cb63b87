"""The file's own bytes, however they are stored."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Self

from argosy.coding.decoder import decoded, read_table
from argosy.coding.expansion import most_expanded
from argosy.coding.frames import FrameTable
from argosy.derived import Encoding
from argosy.errors import ChecksumMismatch, ExpansionTooLarge, ObjectChanged, StorageRefused
from argosy.reference import FileReference
from argosy.storage.checksum import plain_etag
from argosy.storage.s3 import ObjectHead, ObjectStore


class Content:
    """The bytes of one file, through one user's store; decoded where they are stored encoded.

    Every answer must be of version `etag`; without it, of the one that `head` or the first
    read of an encoded file has found (a plain file that was never looked at is of one
    version in each read). A compressed file may have `expansion` times its stored size.
    Threads may share it. Whether all the bytes are the file's, SHA-256 says: not verified here.
    """

    def __init__(
        self,
        store: ObjectStore,
        reference: FileReference,
        *,
        etag: str | None = None,
        expansion: int = 1000,
    ) -> None:
        self.reference = reference
        self._store = store
        self._shared = _Shared(etag)
        self._expansion = expansion

    def using(self, store: ObjectStore) -> Self:
        """The same version of the same file through another store: no table is read again."""
        other = type(self)(store, self.reference, expansion=self._expansion)
        other._shared = self._shared
        return other

    @property
    def density(self) -> float:
        """Bytes that are read from Storage for each of the file's own."""
        file = self.reference
        return file.stored_size / file.size if file.size else 1.0

    def check_expansion(self) -> None:
        """Raise ExpansionTooLarge for a file that is too large beside what is stored."""
        file = self.reference
        most = most_expanded(file.stored_size, self._expansion)
        if file.size > most:
            raise ExpansionTooLarge(
                f"{file.name} is not decoded: {file.stored_size} bytes are said to hold "
                f"{file.size}, and {most} are allowed. If you trust its owner, allow more with "
                "ARGOSY_EXPANSION."
            )

    def head(self) -> ObjectHead:
        """What Storage knows about the object, which is the one that is read from now on.

        Raises ChecksumMismatch when its size is not the one that the reference promises,
        ObjectChanged when it is of another version, and what `ObjectStore.head` raises.
        """
        file = self.reference
        head = self._store.head(file.bucket, file.path)
        if self._shared.etag not in (None, head.etag):
            raise _replaced(file)
        if head.size != file.stored_size:
            raise ChecksumMismatch(
                f"{file.name} has {head.size} bytes in Storage, its reference says "
                f"{file.stored_size} bytes: ask its owner for a new reference."
            )
        if self._shared.pin(head.etag) != head.etag:  # another thread has found another one
            raise _replaced(file)
        return head

    def check_table(self) -> None:
        """Raise ChecksumMismatch unless a compressed file has the size that was promised.

        The table of its frames says so, which is read once; also raises what `get` raises.
        """
        if self.reference.encoding:
            self._table(self.reference.encoding)

    def get(self, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """The file's bytes from `start` on, `length` of them or to the end, in blocks.

        Of an encoded file only the frames that have them are fetched, and the table, once.
        Raises ExpansionTooLarge, ChecksumMismatch for what cannot be decoded, StorageRefused
        for a range that does not lie within the file, and what `ObjectStore.get` raises.
        Close the iterator to stop early.
        """
        if self.reference.encoding is None:
            return self._stored(start, length)
        self.check_expansion()
        return self._decoded(self.reference.encoding, start, length)

    def _decoded(self, encoding: Encoding, start: int, length: int | None) -> Iterator[bytes]:
        end = self.reference.size if length is None else start + length
        if not 0 <= start <= end <= self.reference.size:
            raise StorageRefused(
                f"{self.reference.name} has {self.reference.size} bytes: ask for a range of these, "
                f"not for {start} to {end}."
            )
        table = self._table(encoding)
        name = self.reference.name
        yield from decoded(table, encoding, self._stored, start, end - start, name=name)

    def _stored(self, start: int, length: int | None) -> Iterator[bytes]:
        """The bytes of the object, as they lie there."""
        file = self.reference
        return self._store.get(
            file.bucket, file.path, start=start, length=length, etag=self._shared.etag
        )

    def _table(self, encoding: Encoding) -> FrameTable:
        """Read by the first who needs it; the others wait for that."""
        with self._shared.alone():
            if self._shared.table is None:
                self._shared.table = self._read_table(encoding)
            return self._shared.table

    def _read_table(self, encoding: Encoding) -> FrameTable:
        if self._shared.etag is None:  # table and frames are of one version
            self.head()
        file = self.reference
        return read_table(encoding, self._read, file.stored_size, file.size, name=file.name)

    def _read(self, start: int, length: int) -> bytes:
        return b"".join(self._stored(start, length))


def _replaced(file: FileReference) -> ObjectChanged:
    return ObjectChanged(f"{file.name} was replaced in Storage while it was read: start anew.")


class _Shared:
    """What is known of an object: its version, its table."""

    def __init__(self, etag: str | None) -> None:
        self.etag = etag and plain_etag(etag)
        self.table: FrameTable | None = None
        self._own()

    def pin(self, etag: str) -> str:
        """The version that was found first: this one, unless there was one before."""
        with self.alone():
            self.etag = self.etag or etag
            return self.etag

    def alone(self) -> threading.RLock:
        """The lock of whoever reads the table; a forked child has no threads to wait for."""
        if self._pid != os.getpid():
            self._own()
        return self._lock

    def _own(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
