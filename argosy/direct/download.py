"""A file comes down: in ranges if it is large, from where a killed call stopped, and verified.

One that is stored compressed is decoded as it comes: its ranges, and what a journal says of
them, are the file's own, each of whole frames.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from argosy.account import Account
from argosy.cache import FileCache, Insertion
from argosy.coding.frames import FRAME_BYTES
from argosy.deadline import Deadline
from argosy.direct import destination as place
from argosy.direct.crew import Crew, ending
from argosy.direct.journal import Journal
from argosy.direct.ranges import Ranges
from argosy.direct.remote_file import RemoteFile
from argosy.direct.verdict import mismatch, wrong_size
from argosy.errors import Error, InvalidToken, NotSignedIn, TransferCancelled
from argosy.files import write_at
from argosy.options import DownloadOptions
from argosy.progress import Meter
from argosy.reference import FileReference
from argosy.sizes import MIB
from argosy.storage.content import Content
from argosy.storage.parts import part_size_for
from argosy.storage.s3 import ObjectHead

_WORTH_KEEPING = (TransferCancelled, NotSignedIn, InvalidToken)
"""Ends that say nothing against the bytes that are there: the next call goes on with them."""


def download(
    account: Account,
    reference: FileReference,
    destination: str | os.PathLike[str],
    options: DownloadOptions,
    deadline: Deadline,
    meter: Meter,
    cache: FileCache | None,
) -> Path:
    """Download a file, and return the path it got.

    Raises DestinationExists, DestinationUnwritable, DiskFull, ObjectNotFound, ObjectChanged,
    ChecksumMismatch, ExpansionTooLarge, DeadlineExceeded, TransferCancelled and what Storage
    says.
    """
    settings = account.settings
    content = Content(
        account.store(deadline.limit(account.retries())), reference, expansion=settings.expansion
    )
    try:
        content.check_expansion()  # before anything is asked
        with place.destination(destination, reference.name) as found:
            key = {**found.key, "reference": str(reference.id)}
            with (
                Journal.open(settings, "download", key) as journal,
                found.partial(str(reference.id)) as partial,
            ):
                going = _Download(content, deadline, meter, cache, journal, partial)
                going.run(settings.part_size, options.parallel or settings.parallel)
    except Error as error:
        raise error.about(str(reference.id)) from error
    meter.done(found.path, reference.size)
    return found.path


@dataclass
class _Download:
    """One download on its way."""

    content: Content
    deadline: Deadline
    meter: Meter
    cache: FileCache | None
    journal: Journal
    partial: place.Partial
    head: ObjectHead | None = field(default=None, init=False)
    has_begun: bool = field(default=False, init=False)

    @property
    def reference(self) -> FileReference:
        """The file that is wanted."""
        return self.content.reference

    def run(self, part_size: int, parallel: int) -> None:
        """Fetch, verify and publish; what is of no use to another try goes."""
        try:
            if not self._take_from_cache():
                self._fetch(_part_size(self.reference, part_size), parallel)
            self.deadline.check()
            self.partial.publish()
        except Error as error:
            if not (self._can_go_on and (error.retryable or isinstance(error, _WORTH_KEEPING))):
                self._clear()
            raise
        except OSError:  # the disk is full, or broken
            self._clear()
            raise
        self.journal.remove()

    @property
    def _can_go_on(self) -> bool:
        """Whether there is anything that another call need not fetch again."""
        return self.partial.is_lasting and self.journal.is_kept and bool(self.journal.parts)

    def _clear(self) -> None:
        self.partial.remove()
        self.journal.remove()

    def _take_from_cache(self) -> bool:
        """Copy it from the cache, if it is there and the agent may (still) read it."""
        cache, wanted = self.cache, self.reference
        if cache is None:
            return False
        if not cache.has(wanted.sha256, wanted.size):
            cache.missed()
            return False
        etag = self._look().etag
        self._reserve()
        self._begin(0)
        return cache.copy_to(
            wanted.sha256, wanted.size, self.partial.fd, etag=etag, on_bytes=self._copied
        )

    def _copied(self, count: int) -> None:
        self.meter.add(count)
        self.deadline.check()

    def _look(self) -> ObjectHead:
        """What Storage says of the object to this agent, asked once.

        Raises ChecksumMismatch for one of another size than promised.
        """
        if self.head is None:
            with Crew(self.deadline) as crew:
                self.head = crew.result(self.content.head)
        return self.head

    def _prove(self) -> ObjectHead:
        """What `_look` says, of an object that does have a file of the size that was promised.

        A reference is anybody's word: nothing large is reserved for it before.
        """
        head = self._look()
        if self.reference.encoding:
            with Crew(self.deadline) as crew:
                crew.result(self.content.check_table)
        return head

    def _reserve(self) -> None:
        self.partial.reserve(self.reference.size, self.deadline.check)

    def _begin(self, done: int) -> None:
        if not self.has_begun:
            self.has_begun = True
            wanted = self.reference
            self.meter.begin(str(wanted.id), wanted.name, wanted.size, done=done)
        elif done:
            self.meter.add(done)

    def _fetch(self, part_size: int, parallel: int) -> None:
        """Fetch it from Storage. Raises ChecksumMismatch when it is not what was promised."""
        if self.reference.size <= part_size:
            return self._check(self._fetch_whole())
        there = self._resume(part_size)
        sha256 = self._fetch_ranges(part_size, parallel, there)
        if there and sha256 != self.reference.sha256:  # a power cut may have undone some of it
            self.journal.begin(self.journal.header)
            self.meter.add(-self.reference.size)
            sha256 = self._fetch_ranges(part_size, parallel, set())
        return self._check(sha256)

    def _check(self, sha256: str) -> None:
        if sha256 != self.reference.sha256:
            raise mismatch(self.reference, sha256)

    def _resume(self, part_size: int) -> set[int]:
        """The ranges that an earlier call has left, of this very object in this very file."""
        head, wanted = self._prove(), self.reference
        self._reserve()
        header = {
            "reference": str(wanted.id),
            "etag": head.etag,
            "size": wanted.size,
            "sha256": wanted.sha256,
            "part_size": part_size,
            "inode": self.partial.inode,
        }
        if self.journal.header != header:
            self.journal.begin(header)
        there = set(self.journal.parts)
        whole_parts, rest = divmod(wanted.size, part_size)
        done = sum(part_size if number <= whole_parts else rest for number in there)
        self._begin(done)
        return there

    def _fetch_ranges(self, part_size: int, parallel: int, there: set[int]) -> str:
        wanted, etag = self.reference, self._look().etag
        with self._insertion() as insertion, Crew(self.deadline) as crew:
            ranges = Ranges(self.partial.fd, wanted.size, part_size)
            sha256 = ranges.fetch(
                self.content.get,
                crew,
                parallel=parallel,
                there=there,
                on_bytes=self.meter.add,
                on_part=lambda number: self.journal.note(number, ""),
                insertion=insertion,
            )
            self._keep(insertion, sha256, etag)
        return sha256

    def _fetch_whole(self) -> str:
        """One request, if it is stored as it is.

        Raises ChecksumMismatch when it is another size than promised.
        """
        if self.reference.encoding:
            self._look()  # for the table; and what is decoded does not tell the ETag
        self._reserve()  # no more than a part: to ask first would be a request more
        self._begin(0)
        with self._insertion() as insertion, Crew(self.deadline) as crew:
            sha256, md5 = crew.result(lambda: self._receive(crew, insertion))
            # An ETag that is no MD5 is learnt when the file is looked for the next time.
            self._keep(insertion, sha256, self.head.etag if self.head else md5)
        return sha256

    def _receive(self, crew: Crew, insertion: Insertion | None) -> tuple[str, str]:
        """SHA-256 and, for the cache, MD5 of what came, written down."""
        gate, offset, wanted = crew.gate(), 0, self.reference
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        with ending(self.content.get()) as blocks:
            for block in blocks:
                if offset + len(block) > wanted.size:
                    raise wrong_size(wanted)
                with gate:
                    write_at(self.partial.fd, block, offset)
                    if insertion:
                        insertion.write(block)
                        md5.update(block)
                    self.meter.add(len(block))
                sha256.update(block)
                offset += len(block)
        if offset != wanted.size:
            raise wrong_size(wanted, offset)
        return sha256.hexdigest(), md5.hexdigest()

    def _insertion(self) -> Insertion | nullcontext[None]:
        begun = self.cache.begin(self.reference.size) if self.cache else None
        return begun or nullcontext()

    def _keep(self, insertion: Insertion | None, sha256: str, etag: str) -> None:
        if insertion and sha256 == self.reference.sha256:
            insertion.commit(sha256, etag)


def _part_size(reference: FileReference, part_size: int) -> int:
    """Bytes in a range; of a compressed file no frame is in two of them."""
    size = part_size_for(reference.size, part_size)
    return -(-size // FRAME_BYTES) * FRAME_BYTES if reference.encoding else size


def iter_bytes(account: Account, reference: FileReference, deadline: Deadline) -> Iterator[bytes]:
    """The file's bytes in order, in blocks of at most 1 MiB; the last one once all are verified.

    Raises ChecksumMismatch, ExpansionTooLarge, ObjectChanged, ObjectNotFound,
    DeadlineExceeded. Close it to stop early.
    """
    with RemoteFile(account, reference, deadline=deadline) as file:
        while block := file.read(MIB):
            yield block
