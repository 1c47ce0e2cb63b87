"""Uploads a stream, of a length that nobody knows, in parts that are gathered in memory.

The caller's thread reads the stream and hashes it; others send the parts meanwhile. Nothing
is on disk, so nothing can be gone on with: whatever fails, nothing is left in Storage, but
for a file that is stored whole and that the fleet may enter yet.

A file that is compressed on its way goes up like this too: how long it becomes is known only
at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import BinaryIO

from argosy.account import Account
from argosy.coding.expansion import most_expanded
from argosy.deadline import Deadline
from argosy.derived import Encoding
from argosy.direct.blocks import Blocks, given_blocks, peeked
from argosy.direct.buffers import Buffers
from argosy.direct.call import UploadCall
from argosy.direct.compress import STREAM_SAMPLE, Encoded, Share, encoding_for
from argosy.direct.crew import ending
from argosy.direct.finish import Fate, complete, remove, verified
from argosy.direct.register import register
from argosy.direct.source import MemoryRange, Source
from argosy.direct.team import Team
from argosy.direct.wanted import Wanted
from argosy.errors import Error, ExpansionTooLarge
from argosy.fleet import Fleet
from argosy.options import UploadOptions
from argosy.progress import Meter
from argosy.reference import FileReference
from argosy.storage.checksum import Checksums, Digest
from argosy.storage.s3 import ObjectStore


def upload(
    account: Account,
    fleet: Fleet,
    source: Iterable[bytes] | BinaryIO,
    name: str,
    metadata: Mapping[str, str],
    options: UploadOptions,
    deadline: Deadline,
    meter: Meter,
) -> FileReference:
    """Upload what `source` yields, or gives when it is read, and return the reference.

    With `compress="auto"` its beginning says whether it is compressed. Raises
    SourceUnreadable with what the source raised as its cause, InvalidRequest when it yields
    no bytes, and what Storage, the fleet and the deadline raise.
    """
    call = UploadCall(account, fleet, options, deadline, meter)
    wanted = Wanted.described(account, name, metadata, options)
    given = given_blocks(source, name, deadline)
    meter.begin(str(wanted.id), wanted.name, None)
    return _told(call, wanted, lambda: _judged(call, wanted, given).run())


def upload_encoded(
    call: UploadCall, source: Source, wanted: Wanted, encoding: Encoding
) -> FileReference:
    """Upload a source that is encoded while it is read, and return the reference.

    Raises what `upload` raises, and SourceChanged.
    """
    call.meter.begin(str(wanted.id), wanted.name, source.size)
    blocks = _within(source.body(0, source.size).blocks(), call.deadline)
    stream = _Stream(call, wanted.encoded(encoding), blocks, source.check_unchanged)
    return _told(call, wanted, stream.run)


def _told(call: UploadCall, wanted: Wanted, run: Callable[[], FileReference]) -> FileReference:
    """Run it; its errors name the transfer, and who listens hears of its end."""
    try:
        done = run()
    except Error as error:
        raise error.about(str(wanted.id)) from (error.__cause__ or error)
    call.meter.done(done, done.size)
    return done


def _judged(call: UploadCall, wanted: Wanted, given: Iterator[memoryview]) -> _Stream:
    """The stream, encoded if that is wanted, and if it pays where that was left open."""
    sample, blocks = peeked(given, STREAM_SAMPLE if call.options.compress == "auto" else 0)
    encoding = encoding_for(
        call.options.compress,
        wanted.content_type,
        lambda: [sample],
        size=None,
        expansion=call.account.settings.expansion,
    )
    return _Stream(call, wanted.encoded(encoding), blocks)


def _within(
    blocks: Iterable[bytes | memoryview], deadline: Deadline
) -> Iterator[bytes | memoryview]:
    """The same blocks. Raises what the deadline raises, after each of them."""
    for block in blocks:
        deadline.check()
        yield block


class _Stream:
    """One stream on its way. `check`, once all was read, may raise to say that it is not so."""

    def __init__(
        self,
        call: UploadCall,
        wanted: Wanted,
        blocks: Iterator[bytes | memoryview],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._call = call
        self._wanted = wanted
        self._encoded = Encoded(blocks, wanted.encoding) if wanted.encoding else None
        self._given = iter(self._encoded) if self._encoded else blocks
        self._blocks = Blocks(self._given)
        self._check = check
        self._digest = Digest()
        self._part_md5s: dict[int, str] = {}
        self._upload_id: str | None = None
        self._fate = Fate()

    def run(self) -> FileReference:
        """Store the stream, and have the fleet enter it."""
        call = self._call
        try:
            stored = self._store()
            etag = verified(call.store(), self._wanted, stored, self._in_order or None)
            part_size = call.part_size if self._part_md5s else stored.size
            count = len(self._part_md5s) or 1
            reference = self._wanted.reference(self._sums(stored), part_size, count, stored)
            self._fate.told = True
            return register(call.fleet, reference, etag, call.options.share_with, call.deadline)
        except BaseException as error:
            is_unwanted = self._fate.is_unwanted(error)
            remove(call, self._wanted, self._upload_id, whole=is_unwanted)
            raise

    def _sums(self, stored: Checksums) -> Checksums:
        """Of the file itself."""
        return self._encoded.sums if self._encoded else stored

    def _store(self) -> Checksums:
        """Everything into Storage: the object's checksums."""
        with (
            ending(self._given),  # and with it the thread beside it
            ThreadPoolExecutor(1, thread_name_prefix="argosy-md5") as helper,
        ):
            first = bytearray(self._call.part_size)
            filled = self._gather(first, helper)
            if self._blocks.has_more():
                self._send_parts(first, helper)
                sums = self._checked()
                self._fate.sent = True
                complete(
                    self._call.store(), self._wanted, self._upload_id or "", self._in_order, sums
                )
            else:
                sums = self._checked()
                self._send_whole(memoryview(first)[:filled], sums)
        return sums

    def _checked(self) -> Checksums:
        """The object's checksums. Raises ExpansionTooLarge for what nobody would decode."""
        self._check()
        stored, file = self._digest.checksums(), self._read
        if file > most_expanded(stored.size, self._call.account.settings.expansion):
            raise ExpansionTooLarge(
                f"{self._wanted.name} has {file} bytes and comes to {stored.size}: whoever "
                "receives it would take it for a bomb. Upload it without compress."
            )
        return stored

    @property
    def _read(self) -> int:
        """Bytes of a file that is encoded that were read by now."""
        return self._encoded.read if self._encoded else 0

    @property
    def _in_order(self) -> list[str]:
        return [etag for _, etag in sorted(self._part_md5s.items())]

    def _gather(self, buffer: bytearray, helper: ThreadPoolExecutor) -> int:
        """The next part into a buffer, and into the checksums: its size."""
        filled = self._blocks.fill(buffer)
        if filled:
            self._digest.update_beside(memoryview(buffer)[:filled], helper).result()
        return filled

    def _send_whole(self, content: memoryview, sums: Checksums) -> None:
        wanted, share = self._wanted, self._share(0, len(content))

        def moved(count: int) -> None:
            share(count)
            self._call.deadline.check()

        self._fate.sent = True
        self._call.store().put(
            wanted.bucket,
            wanted.path,
            MemoryRange(content, moved),
            content_type=wanted.content_type,
            metadata=wanted.object_metadata(self._sums(sums), sums),
            md5=sums.md5,
        )

    def _share(self, read_before: int, stored: int) -> Callable[[int], None]:
        """Who counts the bytes of a part; before it so many of the file were read."""
        if self._encoded is None:
            return self._call.meter.add
        return Share(self._call.meter, self._encoded.read - read_before, stored).moved

    def _send_parts(self, buffer: bytearray, helper: ThreadPoolExecutor) -> None:
        call, number, filled, share = self._call, 1, len(buffer), self._share(0, len(buffer))
        upload_id = self._upload_id = self._create()
        with Team(call.deadline, call.parallel) as team:
            buffers = Buffers(buffer, call.parallel, team.check)
            store = call.store(team)
            while filled:
                part = memoryview(buffer)[:filled]
                send = partial(self._send_part, team, store, upload_id, number, part, share)
                team.submit(partial(buffers.lend, buffer, send))
                number += 1
                buffer, before = buffers.take(number), self._read
                filled = self._gather(buffer, helper)
                share = self._share(before, filled)

    def _create(self) -> str:
        wanted = self._wanted
        return self._call.store().create_multipart(
            wanted.bucket,
            wanted.path,
            content_type=wanted.content_type,
            metadata=wanted.object_metadata(),
        )

    def _send_part(
        self,
        team: Team,
        store: ObjectStore,
        upload_id: str,
        number: int,
        part: memoryview,
        share: Callable[[int], None],
    ) -> None:
        def moved(count: int) -> None:
            share(count)
            team.check()

        body = MemoryRange(part, moved)
        etag = store.upload_part(self._wanted.bucket, self._wanted.path, upload_id, number, body)
        self._part_md5s[number] = etag
