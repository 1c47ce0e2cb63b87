"""Uploads a stream, of a length that nobody knows, in parts that are gathered in memory.

The caller's thread reads the stream and hashes it; others send the parts meanwhile. Nothing
is on disk, so nothing can be gone on with: whatever fails, nothing is left in Storage, but
for a file that is stored whole and that the fleet may enter yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import BinaryIO

from argosy.account import Account
from argosy.deadline import Deadline
from argosy.direct.blocks import Blocks
from argosy.direct.buffers import Buffers
from argosy.direct.call import UploadCall
from argosy.direct.finish import Fate, complete, remove, verified
from argosy.direct.register import register
from argosy.direct.source import MemoryRange
from argosy.direct.team import Team
from argosy.direct.wanted import Wanted
from argosy.errors import Error
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

    Raises SourceUnreadable with what the source raised as its cause, InvalidRequest when it
    yields no bytes, and what Storage, the fleet and the deadline raise.
    """
    call = UploadCall(account, fleet, options, deadline, meter)
    wanted = Wanted.described(account, name, metadata, options)
    blocks = Blocks(source, name, deadline)
    meter.begin(str(wanted.id), wanted.name, None)
    try:
        done = _Stream(call, wanted, blocks).run()
    except Error as error:
        raise error.about(str(wanted.id)) from (error.__cause__ or error)
    meter.done(done, done.size)
    return done


class _Stream:
    """One stream on its way."""

    def __init__(self, call: UploadCall, wanted: Wanted, blocks: Blocks) -> None:
        self._call = call
        self._wanted = wanted
        self._blocks = blocks
        self._digest = Digest()
        self._part_md5s: dict[int, str] = {}
        self._upload_id: str | None = None
        self._fate = Fate()

    def run(self) -> FileReference:
        """Store the stream, and have the fleet enter it."""
        call = self._call
        try:
            sums = self._store()
            etag = verified(call.store(), self._wanted, sums, self._in_order or None)
            part_size = call.part_size if self._part_md5s else sums.size
            reference = self._wanted.reference(sums, part_size, len(self._part_md5s) or 1)
            self._fate.told = True
            return register(call.fleet, reference, etag, call.options.share_with, call.deadline)
        except BaseException as error:
            is_unwanted = self._fate.is_unwanted(error)
            remove(call, self._wanted, self._upload_id, whole=is_unwanted)
            raise

    def _store(self) -> Checksums:
        with ThreadPoolExecutor(1, thread_name_prefix="argosy-md5") as helper:
            first = bytearray(self._call.part_size)
            filled = self._gather(first, helper)
            if self._blocks.has_more():
                self._send_parts(first, helper)
                sums = self._digest.checksums()
                self._fate.sent = True
                complete(
                    self._call.store(), self._wanted, self._upload_id or "", self._in_order, sums
                )
            else:
                sums = self._digest.checksums()
                self._send_whole(memoryview(first)[:filled], sums)
        return sums

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
        wanted = self._wanted
        self._fate.sent = True
        self._call.store().put(
            wanted.bucket,
            wanted.path,
            MemoryRange(content, self._call.moved),
            content_type=wanted.content_type,
            metadata=wanted.object_metadata(sums),
            md5=sums.md5,
        )

    def _send_parts(self, buffer: bytearray, helper: ThreadPoolExecutor) -> None:
        call, number, filled = self._call, 1, len(buffer)
        upload_id = self._upload_id = self._create()
        with Team(call.deadline, call.parallel) as team:
            buffers = Buffers(buffer, call.parallel, team.check)
            store = call.store(team)
            while filled:
                part = memoryview(buffer)[:filled]
                send = partial(self._send_part, team, store, upload_id, number, part)
                team.submit(partial(buffers.lend, buffer, send))
                number += 1
                buffer = buffers.take(number)
                filled = self._gather(buffer, helper)

    def _create(self) -> str:
        wanted = self._wanted
        return self._call.store().create_multipart(
            wanted.bucket,
            wanted.path,
            content_type=wanted.content_type,
            metadata=wanted.object_metadata(),
        )

    def _send_part(
        self, team: Team, store: ObjectStore, upload_id: str, number: int, part: memoryview
    ) -> None:
        def moved(count: int) -> None:
            self._call.meter.add(count)
            team.check()

        body = MemoryRange(part, moved)
        etag = store.upload_part(self._wanted.bucket, self._wanted.path, upload_id, number, body)
        self._part_md5s[number] = etag
