"""A parcel: files of a batch that go to Storage together, and get their rows together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from argosy.errors import AccessError, ChecksumMismatch, Error, StorageUnavailable
from argosy.fields import type_of
from argosy.naming import object_name
from argosy.storage.body import FileRange
from argosy.storage.checksum import Checksums, digest_file, etag_agrees
from argosy.storage.s3 import ObjectStore
from models import Agent, Chunk, Kind, Parcel, State, Transfer
from models.grants import find_grantees
from models.moments import moment
from models.parcel import BatchFile
from models.parcels import enter_files, parcel, redraw
from models.transitions import clean_again
from tasks.describe import object_metadata, reference_to
from tasks.fleet import fleet
from tasks.lease import Lease
from tasks.messages import send_cleanup
from tasks.requests import Place
from tasks.sharing import share

AT_ONCE = 8
"""Files of a parcel that are sent at once: the way to Storage and back is shared by them."""


@dataclass(frozen=True)
class Sent:
    """What came of one file: a row that is not entered yet."""

    file: BatchFile
    row: dict[str, Any]

    @property
    def stored(self) -> bool:
        """Whether it is in Storage."""
        return bool(self.row["state"] == State.COMPLETED)


def send(batch: Transfer, claimed: Chunk, lease: Lease) -> Callable[[Session], None]:
    """Send a claimed parcel's files; returns how they are entered, with the parcel itself.

    What fails for one file is that file's. But where it may go better later, or its agent may
    do nothing more, it raises that error, and nothing is entered.
    """
    is_last = claimed.attempts >= fleet().settings.max_attempts
    (one, before), began = fleet().transact(
        lambda session: (redraw(session, batch, claimed.number), moment(session))
    )
    store = fleet().store_for(batch.agent_id, lease)
    for file in before:
        store.delete(batch.bucket, object_name(batch.agent_id, file.id, file.name))
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="parcel") as threads:

        def each(file: BatchFile) -> Sent:
            return _send(_row(batch, file, began), file, store, lease, is_last=is_last)

        sent = list(threads.map(each, one.files))
    return lambda session: _enter(session, batch, one, sent)


def let_go(batch: Transfer, number: int) -> None:
    """Have those of its files cleaned once more that failed: what was on its way may arrive now."""

    def again(session: Session) -> list[UUID]:
        files = parcel(session, batch.id, number).files
        return [file.id for file in files if clean_again(session, file.id)]

    for file_id in fleet().transact(again):
        send_cleanup(file_id)


def _send(
    row: dict[str, Any], file: BatchFile, store: ObjectStore, lease: Lease, *, is_last: bool
) -> Sent:
    """At the `is_last` try what goes wrong with one file alone does not end the batch."""
    if file.code:
        return Sent(file, {**row, **_failed(file.code, file.message)})
    try:
        return Sent(file, {**row, **_stored(file, row, store, lease)})
    except Error as error:
        of_all = isinstance(error, AccessError | StorageUnavailable)
        if of_all or (error.retryable and not is_last):
            raise
        return Sent(file, {**row, **_failed(error.code, error.message)})


def _stored(
    file: BatchFile, row: dict[str, Any], store: ObjectStore, lease: Lease
) -> dict[str, Any]:
    """Its bytes in Storage, verified; returns the columns that tell of them."""
    expected = dict(file.fingerprint or {})
    with fleet().spool.source(file.path, expected) as source:
        sums = digest_file(source.fd, file.size, lease.check)
        known = {"sha256": sums.sha256, "md5": sums.md5}
        etag = store.put(
            row["bucket"],
            row["object_name"],
            FileRange(source.fd, 0, file.size, lease.check),
            content_type=row["content_type"],
            metadata=object_metadata(Transfer(**row, **known)),
            md5=sums.md5,
        )
    _verify(row, sums, etag, store)
    return {**known, "etag": etag, "state": State.COMPLETED}


def _verify(row: dict[str, Any], sums: Checksums, etag: str, store: ObjectStore) -> None:
    """Where the answer's ETag was no MD5 of what was sent, ask Storage what it has."""
    if etag_agrees(etag, md5=sums.md5):
        return
    head = store.head(row["bucket"], row["object_name"])
    if head.size != sums.size or head.etag != etag:
        raise ChecksumMismatch(
            f"{row['name']} arrived in Storage with {head.size} bytes and ETag {head.etag}, not "
            f"the {sums.size} bytes that were sent with ETag {etag}: upload it again."
        )


def _failed(code: str, message: str | None) -> dict[str, Any]:
    """Its row is cleaned like any that failed: an earlier try may have stored it."""
    return {"state": State.FAILED, "error_code": code, "error_message": message}


def _row(batch: Transfer, file: BatchFile, began: datetime) -> dict[str, Any]:
    """Columns of a file's row, apart from what came of it."""
    settings = fleet().settings
    days = timedelta(days=settings.retention_days)
    return {
        "id": file.id,
        "kind": Kind.UPLOAD,
        "agent_id": batch.agent_id,
        "request_sha256": batch.request_sha256,
        "bucket": batch.bucket,
        "object_name": object_name(batch.agent_id, file.id, file.name),
        "name": file.name,
        "content_type": type_of(file.name),
        "user_metadata": batch.user_metadata,
        "path": file.path,
        "fingerprint": dict(file.fingerprint) if file.fingerprint else None,
        "size": file.size,
        "priority": batch.priority,
        "created_at": batch.created_at,
        "admitted_at": batch.admitted_at,
        "started_at": began,
        "expires_at": began + days if batch.bucket == settings.bucket else None,
        "part_size": file.size,
        "part_count": 1,
        "chunks_left": 0,
    }


def _enter(session: Session, batch: Transfer, one: Parcel, sent: list[Sent]) -> None:
    readers = [found.name for found in find_grantees(session, one.share_with)[0]]
    ended = moment(session)
    rows = [{**_entered(each, batch, readers), "ended_at": ended} for each in sent]
    enter_files(session, batch.id, rows)
    if readers:
        _share(session, batch, sent, readers)


def _entered(sent: Sent, batch: Transfer, readers: list[str]) -> dict[str, Any]:
    """The whole row; `readers` are those with whom the file is shared."""
    nothing = {"sha256": None, "md5": None, "etag": None, "error_code": None, "error_message": None}
    row = {**nothing, "reference": None, "bytes_done": 0, "worker": batch.worker, **sent.row}
    if sent.stored:
        grants = sorted(f"read:{name}" for name in readers)
        row["reference"] = reference_to(Transfer(**row), grants).document()
        row["bytes_done"] = sent.file.size
    return row


def _share(session: Session, batch: Transfer, sent: list[Sent], readers: list[str]) -> None:
    owner = session.get_one(Agent, batch.agent_id)
    for one in sent:
        if one.stored:
            place = Place(bucket=one.row["bucket"], path=one.row["object_name"])
            share(session, owner, place, readers, request_id=one.file.id)
