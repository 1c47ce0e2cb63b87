"""The bytes of every stored object against the books: read, hashed, and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from argosy.errors import Error, ObjectChanged, ObjectNotFound
from models.difference import Difference, Differing
from models.stored import FIRST, Stored, as_it_is, derivatives_after, files_after
from tasks.fleet import Fleet

TRIES = 3
"""Readings of an object whose row changes while it is read."""


@dataclass
class Deep:
    """One pass over all that is stored; counts what it has read."""

    fleet: Fleet
    buckets: Sequence[str]
    older_than: float
    files: int = 0
    bytes: int = 0

    def differences(self) -> Iterator[Difference]:
        """Objects whose bytes are not those of the books, or that cannot be read.

        What is gone is left to the comparison of the rows. Raises StorageUnavailable where
        Storage itself is away.
        """
        for one in self._stored():
            if found := self._differs(one):
                yield found

    def _stored(self) -> Iterator[Stored]:
        for read in (files_after, derivatives_after):
            after = FIRST
            while page := self.fleet.attempt(
                lambda session, read=read, after=after: read(  # type: ignore[misc]
                    session, self.buckets, after, older_than=self.older_than
                )
            ):
                yield from page
                after = page[-1].id

    def _differs(self, one: Stored) -> Difference | None:
        """Compare one object; what differs is looked up again, for the books may have changed."""
        for _ in range(TRIES):
            difference = self._compare(one)
            if difference is None:
                return None
            now = self.fleet.attempt(lambda session, one=one: as_it_is(session, one, self.buckets))  # type: ignore[misc]
            if now is None or now == one:
                break
            one = now
        return difference if now else None

    def _compare(self, one: Stored) -> Difference | None:
        try:
            size, sha256 = self._read(one)
        except Error as error:
            return self._unreadable(one, error)
        self.files += 1
        if (size, sha256) == (one.size, one.sha256):
            return None
        return _difference(Differing.WRONG_SHA256, one, found=sha256, expected=one.sha256)

    def _read(self, one: Stored) -> tuple[int, str]:
        digest, size = hashlib.sha256(), 0
        for block in self.fleet.store_as_service().get(one.bucket, one.path):
            digest.update(block)
            size += len(block)
            self.bytes += len(block)
        return size, digest.hexdigest()

    def _unreadable(self, one: Stored, error: Error) -> Difference | None:
        """The object's fault where Storage knows it all the same; raises where Storage is away."""
        if not isinstance(error, ObjectChanged):
            try:
                self.fleet.store_as_service().head(one.bucket, one.path)
            except ObjectNotFound:
                return None
        return _difference(Differing.UNREADABLE, one, found=error.code)


def _difference(kind: Differing, one: Stored, **said: str) -> Difference:
    return Difference(kind, one.bucket, one.path, one.at, str(one.id), **said)
