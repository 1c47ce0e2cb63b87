"""Uploads a file of known length: in one piece, or in parallel parts that can be gone on with.

What is done is noted in a journal, for a path only. The next call for the same unchanged
file, with the same bucket, name, type and metadata, goes on: under the same transfer id,
and without sending again what is stored. The journal stays where a later call may succeed;
after a failure that is final neither it nor anything in Storage does. A file that is to be
compressed goes up as a stream does, and begins anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import BinaryIO, cast

from argosy.account import Account
from argosy.deadline import Deadline
from argosy.direct import stream
from argosy.direct.begun import Begun, Header
from argosy.direct.call import UploadCall
from argosy.direct.compress import encoding_for, samples_of
from argosy.direct.finish import Fate, complete, is_unknown, remove, verified
from argosy.direct.journal import Journal
from argosy.direct.register import register
from argosy.direct.source import Source, has_length, name_of, opened
from argosy.direct.team import Team
from argosy.direct.wanted import Wanted
from argosy.errors import (
    ChecksumMismatch,
    Error,
    IdempotencyConflict,
    InvalidToken,
    NotSignedIn,
    ObjectNotFound,
    QuotaExceeded,
    SourceChanged,
    TransferCancelled,
    TransitCorruption,
    UploadNotFound,
)
from argosy.fleet import Fleet
from argosy.options import UploadOptions
from argosy.progress import Meter
from argosy.reference import FileReference
from argosy.storage.checksum import Checksums, digest_blocks
from argosy.storage.part_hashes import HashedPart, PartHashes, are_of
from argosy.storage.parts import part_size_for
from argosy.storage.s3 import ObjectStore

_KIND = "upload"


def upload(
    account: Account,
    fleet: Fleet,
    file: str | os.PathLike[str] | bytes | BinaryIO,
    metadata: Mapping[str, str],
    options: UploadOptions,
    deadline: Deadline,
    meter: Meter,
) -> FileReference:
    """Upload a path, bytes or a file object, and return the reference as the fleet knows it.

    A file object of a regular file is read from where it stands, and left standing there;
    any other is read to its end. Raises SourceMissing, SourceNotAFile, SourceUnreadable,
    SourceChanged, InvalidRequest, and what Storage, the fleet and the deadline raise.
    """
    if not has_length(file):
        name = options.name or name_of(file)
        read = cast(BinaryIO, file)
        return stream.upload(account, fleet, read, name, metadata, options, deadline, meter)
    call = UploadCall(account, fleet, options, deadline, meter)
    with opened(file) as source:
        wanted = Wanted.described(account, options.name or source.name, metadata, options)
        encoding = encoding_for(
            options.compress,
            wanted.content_type,
            lambda: samples_of(source),
            size=source.size,
            expansion=account.settings.expansion,
        )
        if encoding:
            return stream.upload_encoded(call, source, wanted, encoding)
        with _journal(call, source, wanted) as journal:
            return _Upload(call, source, journal, wanted).run()


def _journal(call: UploadCall, source: Source, wanted: Wanted) -> Journal:
    """The journal of this file, bucket, name, type and metadata."""
    if source.path is None:
        return Journal()
    key = {
        "project": call.account.settings.supabase_url,
        "owner": str(wanted.owner),
        "path": source.path,
        "bucket": wanted.bucket,
        "name": wanted.name,
        "content_type": wanted.content_type,
        "metadata": json.dumps(wanted.metadata, sort_keys=True),
    }
    return Journal.open(call.account.settings, "upload", key)


class _Upload:
    """One call, from the first byte that is missing to the fleet's answer."""

    def __init__(self, call: UploadCall, source: Source, journal: Journal, wanted: Wanted) -> None:
        self._call = call
        self._source = source
        fresh = Header(
            wanted=wanted,
            fingerprint=source.fingerprint,
            part_size=self._wished_part_size(),
        )
        self._begun = Begun(journal, source, fresh)
        self._wanted = self._begun.wanted
        is_stored = self._begun.stored is not None
        self._fate = Fate(sent=is_stored, told=is_stored, told_before=is_stored)

    def run(self) -> FileReference:
        """Store the file, unless it is, and have the fleet enter it."""
        try:
            self._tell()
            sums, etag = self._stored() or self._store()
            reference = self._wanted.reference(sums, self._begun.part_size)
            call, self._fate.told = self._call, True
            done = register(call.fleet, reference, etag, call.options.share_with, call.deadline)
        except BaseException as error:
            self._leave(error)
            if isinstance(error, Error):
                raise error.about(str(self._wanted.id)) from (error.__cause__ or error)
            raise
        self._begun.journal.remove()
        self._call.meter.done(done, done.size)
        return done

    def _wished_part_size(self) -> int | None:
        size = self._source.size
        return None if size <= self._at_once() else part_size_for(size, self._call.part_size)

    def _at_once(self) -> int:
        """Bytes up to which a file goes in one piece; fewer than usual where a stream is slow."""
        account = self._call.account
        usual = account.settings.chunk_threshold
        if "chunk_threshold" in account.settings.model_fields_set or self._call.parallel == 1:
            return usual
        return account.streams.at_once(_KIND, usual, self._call.part_size)

    def _stream(self, size: int) -> AbstractContextManager[None]:
        """Within it, so many bytes go up in one stream."""
        return self._call.account.streams.measured(_KIND, size)

    def _tell(self) -> None:
        begun, wanted = self._begun, self._wanted
        if old := begun.outdated:
            # Of one that nobody was told of, the whole object may be there too.
            is_unwanted = old.stored is None and is_unknown(self._call, old.wanted.id)
            remove(self._call, old.wanted, old.upload_id, whole=is_unwanted)
        begun.begin()
        self._call.meter.begin(
            str(wanted.id), wanted.name, self._source.size, done=begun.bytes_there
        )

    def _stored(self) -> tuple[Checksums, str] | None:
        """What an earlier call has stored but not seen entered, if it is still there."""
        if (sums := self._begun.stored) is None:
            return None
        try:
            return sums, self._verified(sums)
        except (ObjectNotFound, ChecksumMismatch):
            self._replace()
            return None

    def _store(self) -> tuple[Checksums, str]:
        """Every byte that is missing into Storage: the checksums, and the object's ETag."""
        sums = self._send_parts() if self._begun.header.part_size else self._send_whole()
        self._source.check_unchanged()
        etag = self._verified(sums)
        self._begun.completed(sums)
        return sums, etag

    def _verified(self, sums: Checksums) -> str:
        return verified(self._call.store(), self._wanted, sums, self._begun.part_md5s)

    def _send_whole(self) -> Checksums:
        source = self._source
        blocks = source.body(0, source.size).blocks()
        sums = digest_blocks(blocks, lambda _: self._call.deadline.check())
        source.check_unchanged()
        self._fate.sent = True
        try:
            self._put(sums)
        except TransitCorruption:
            source.check_unchanged()  # then it is not the way that changes bytes
            raise
        return sums

    def _put(self, sums: Checksums) -> None:
        wanted, size = self._wanted, self._source.size
        with self._stream(size):
            self._call.store().put(
                wanted.bucket,
                wanted.path,
                self._source.body(0, size, self._call.moved),
                content_type=wanted.content_type,
                metadata=wanted.object_metadata(sums),
                md5=sums.md5,
            )

    def _send_parts(self) -> Checksums:
        """The parts that are missing; an upload that Storage has forgotten starts anew."""
        try:
            return self._send_missing()
        except UploadNotFound:
            if not self._begun.is_old:
                raise
        self._start_anew()
        return self._send_missing()

    def _replace(self) -> None:
        """Another transfer: the fleet may know the old one, which has lost its object."""
        self._begun.replace()
        self._wanted, self._fate = self._begun.wanted, Fate()
        self._call.meter.reached(0, self._source.size)

    def _start_anew(self) -> None:
        self._begun.start_anew()
        self._fate = Fate()
        self._call.meter.reached(0, self._source.size)

    def _send_missing(self) -> Checksums:
        upload_id = self._begun.header.upload_id or self._create()
        hashes = PartHashes(self._begun.part_size)
        with Team(self._call.deadline, self._call.parallel) as team:
            digest = team.submit_beside(partial(self._digest, team, hashes))
            store = self._call.store(team)
            for place in self._begun.missing:
                team.submit(partial(self._send_part, team, store, upload_id, *place))
        sums: Checksums = digest.result()
        self._source.check_unchanged()
        self._check_tied(hashes)
        self._fate.sent = True
        part_md5s = self._begun.part_md5s or []
        complete(self._call.store(), self._wanted, upload_id, part_md5s, sums)
        return sums

    def _create(self) -> str:
        wanted = self._wanted
        upload_id = self._call.store().create_multipart(
            wanted.bucket,
            wanted.path,
            content_type=wanted.content_type,
            metadata=wanted.object_metadata(),
        )
        self._begun.created(upload_id)
        return upload_id

    def _digest(self, team: Team, hashes: PartHashes) -> Checksums:
        blocks = self._source.body(0, self._source.size).blocks()
        return digest_blocks(hashes.through(blocks), lambda _: team.check())

    def _check_tied(self, whole: PartHashes) -> None:
        """Raise SourceChanged where the parts that are there are not what the checksums are of."""
        if not are_of(self._begun.part_hashes, whole.folded):
            raise SourceChanged(
                "the bytes that were sent are not those that were hashed: something wrote to them "
                "meanwhile"
            )

    def _send_part(
        self, team: Team, store: ObjectStore, upload_id: str, number: int, start: int, length: int
    ) -> None:
        left = length

        def moved(count: int) -> None:
            nonlocal left
            left -= count
            self._call.meter.add(count)
            if left:  # else only the answer is missing: without it the part is sent twice
                team.check()

        body = HashedPart(self._source.body(start, length, moved), number)
        bucket, path = self._wanted.bucket, self._wanted.path
        with self._stream(length):
            etag = store.upload_part(bucket, path, upload_id, number, body)
        self._source.check_unchanged()
        self._begun.journal.note(number, etag, body.xxh3)

    def _leave(self, error: BaseException) -> None:
        """Keep what the next call can use; otherwise leave nothing."""
        begun = self._begun
        if begun.journal.is_kept and _is_open(error, is_told=self._fate.told):
            return
        is_unwanted = self._fate.is_unwanted(error)
        if begun.is_taken_up and (is_unwanted or not self._fate.told):
            # An earlier call may have stored it, and told the fleet.
            is_unwanted = is_unknown(self._call, self._wanted.id)
        remove(self._call, self._wanted, begun.header.upload_id, whole=is_unwanted)
        begun.journal.remove()


def _is_open(error: BaseException, *, is_told: bool) -> bool:
    """Whether the same call may succeed later: it failed for now, or was stopped.

    Of a stored file, also where the fleet refused what was said with it; not where there is
    no room for it, for then it may not stay.
    """
    if not isinstance(error, Error):
        return True
    if is_told:
        return not isinstance(error, IdempotencyConflict | QuotaExceeded)
    return error.retryable or isinstance(error, TransferCancelled | NotSignedIn | InvalidToken)
