"""Copies a stored file inside Storage: no byte comes here."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from uuid import UUID, uuid4

from argosy.account import Account
from argosy.deadline import Deadline
from argosy.description import object_metadata
from argosy.direct.call import LAST_WORDS
from argosy.direct.finish import Fate
from argosy.direct.register import register
from argosy.errors import ChecksumMismatch, Error, ObjectChanged
from argosy.fleet import Fleet
from argosy.naming import object_name
from argosy.options import UploadOptions
from argosy.progress import Meter
from argosy.reference import FileReference
from argosy.storage.checksum import parts_in
from argosy.storage.parts import part_ranges
from argosy.storage.s3 import ObjectHead, ObjectStore, StoredPart

LARGEST_COPY = 5 * 1024**3
"""S3: CopyObject takes at most 5 GiB; more is copied in parts."""


def copy(
    account: Account,
    fleet: Fleet,
    source: FileReference,
    options: UploadOptions,
    deadline: Deadline,
    meter: Meter,
    *,
    part_size: int = LARGEST_COPY,
) -> FileReference:
    """Copy a file to another bucket as the agent's own, and return the copy's reference.

    Raises ObjectNotFound, ObjectChanged, ChecksumMismatch.
    """
    bucket = options.bucket or account.settings.persistent_bucket
    wanted = _described(source, account.agent_id, uuid4(), bucket, options)
    meter.begin(str(wanted.id), wanted.name, wanted.size)
    copying = _Copying(account, deadline, source, wanted)
    try:
        etag = copying.run(part_size)
        copying.fate.told = True
        ready = _cut_as(wanted, etag)
        done = register(fleet, ready, etag, options.share_with, deadline)
    except BaseException as error:
        copying.clear(error)
        raise
    meter.done(done, done.size)
    return done


def _described(
    source: FileReference, owner: UUID, copy_id: UUID, bucket: str, options: UploadOptions
) -> FileReference:
    """The copy's reference, as far as it is known; when it expires is the fleet's to say."""
    name = options.name or source.name
    return source.model_copy(
        update={
            "id": copy_id,
            "bucket": bucket,
            "path": object_name(owner, copy_id, name),
            "name": name,
            "content_type": options.content_type or source.content_type,
            "owner": owner,
            "created_at": datetime.now(tz=source.created_at.tzinfo),
            "expires_at": None,
            "grants": (),
            "derivatives": (),
        }
    )


def _look(store: ObjectStore, file: FileReference) -> ObjectHead:
    head = store.head(file.bucket, file.path)
    if head.size != file.size:
        raise ChecksumMismatch(
            f"{file.name} has {head.size} bytes in Storage, its reference says {file.size}: "
            "ask its owner for a new reference."
        )
    return head


def _cut_as(file: FileReference, etag: str) -> FileReference:
    """The parts that the copy is made of, as its ETag says: not those of the original."""
    count = parts_in(etag) or 1
    return file.model_copy(update={"chunk_size": -(-file.size // count), "chunk_count": count})


def _metadata(file: FileReference) -> dict[str, str]:
    return object_metadata(
        name=file.name,
        owner=file.owner,
        transfer=file.id,
        sha256=file.sha256,
        md5=file.md5,
        metadata=file.metadata,
    )


class _Copying:
    """One copy on its way."""

    def __init__(
        self, account: Account, deadline: Deadline, source: FileReference, wanted: FileReference
    ) -> None:
        self.fate = Fate()
        self._account = account
        self._deadline = deadline
        self._store = account.store(deadline.limit(account.retries()))
        self._source = source
        self._wanted = wanted
        self._place = (source.bucket, source.path)
        self._target = (wanted.bucket, wanted.path)
        self._upload_id: str | None = None

    def run(self, part_size: int) -> str:
        """Copy, and look whether it is the file that was meant: the copy's ETag."""
        before = _look(self._store, self._source)
        if self._source.size <= part_size:
            self._copy_whole()
        else:
            self._copy_parts(part_size)
        if _look(self._store, self._source).etag != before.etag:
            name = self._source.name
            raise ObjectChanged(f"{name} was replaced while it was copied: copy it again.")
        return _look(self._store, self._wanted).etag

    def clear(self, error: BaseException) -> None:
        """Leave nothing of a copy that nobody will know of, as far as Storage lets us."""
        store = self._account.store(LAST_WORDS)
        with suppress(Error):
            if self._upload_id:
                store.abort_multipart(*self._target, self._upload_id)
            if self.fate.is_unwanted(error):
                store.delete(*self._target)

    def _copy_whole(self) -> None:
        self.fate.sent = True
        self._store.copy(
            self._place,
            *self._target,
            content_type=self._wanted.content_type,
            metadata=_metadata(self._wanted),
        )

    def _copy_parts(self, part_size: int) -> None:
        upload_id = self._upload_id = self._store.create_multipart(
            *self._target,
            content_type=self._wanted.content_type,
            metadata=_metadata(self._wanted),
        )
        parts = []
        for number, (start, length) in enumerate(part_ranges(self._source.size, part_size), 1):
            self._deadline.check()
            etag = self._store.copy_part(
                self._place, *self._target, upload_id, number, start=start, length=length
            )
            parts.append(StoredPart(number, etag))
        self.fate.sent = True
        self._store.complete_multipart(*self._target, upload_id, parts, size=self._wanted.size)
