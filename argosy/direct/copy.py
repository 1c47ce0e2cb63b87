"""Copies a stored file inside Storage: no byte comes here."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid4

from argosy.account import Account
from argosy.deadline import Deadline
from argosy.description import object_metadata
from argosy.direct.register import register
from argosy.errors import ChecksumMismatch, ObjectChanged
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
    store = account.store(deadline.limit(account.retries()))
    before = _look(store, source)
    if source.size <= part_size:
        _copy_whole(store, source, wanted)
    else:
        _copy_in_parts(store, source, wanted, deadline, part_size)
    if _look(store, source).etag != before.etag:
        store.delete(wanted.bucket, wanted.path)
        raise ObjectChanged(f"{source.name} was replaced while it was copied: copy it again.")
    etag = _look(store, wanted).etag
    done = register(fleet, _cut_as(wanted, etag), etag, options.share_with, deadline)
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


def _copy_whole(store: ObjectStore, source: FileReference, wanted: FileReference) -> None:
    place = (source.bucket, source.path)
    store.copy(
        place,
        wanted.bucket,
        wanted.path,
        content_type=wanted.content_type,
        metadata=_metadata(wanted),
    )


def _copy_in_parts(
    store: ObjectStore,
    source: FileReference,
    wanted: FileReference,
    deadline: Deadline,
    part_size: int,
) -> None:
    place, target = (source.bucket, source.path), (wanted.bucket, wanted.path)
    upload_id = store.create_multipart(
        *target, content_type=wanted.content_type, metadata=_metadata(wanted)
    )
    try:
        parts = []
        for number, (start, length) in enumerate(part_ranges(source.size, part_size), 1):
            deadline.check()
            etag = store.copy_part(place, *target, upload_id, number, start=start, length=length)
            parts.append(StoredPart(number, etag))
        store.complete_multipart(*target, upload_id, parts, size=wanted.size)
    except BaseException:
        store.abort_multipart(*target, upload_id)
        raise
