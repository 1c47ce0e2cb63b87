"""A batch: what is written down of it, how it is cut into parcels, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from argosy.errors import Error, InvalidRequest, ObjectNotFound, ObjectTooLarge
from argosy.fields import type_of
from argosy.reference import FileReference
from models import Agent, Transfer
from models.parcel import BatchFile
from models.parcels import as_asked, ask, came_of
from tasks.fleet import fleet
from tasks.lease import Lease, LeaseLost
from tasks.limits import check_limits
from tasks.requests import Place, UploadManyRequest
from tasks.sharing import grantees_of
from tasks.spools import spool_of

PARCEL_FILES = 50
"""Files that go together at most: what each costs in messages and commits is shared by them."""
PARCEL_BYTES = 32 * 1024 * 1024
"""Bytes of one parcel, unless a file alone has more: a parcel is to take seconds."""


def columns(request: UploadManyRequest, agent_id: UUID, task_id: UUID) -> dict[str, Any]:
    """Of the batch's own row. Its `path` says which spool it is in."""
    return {
        "bucket": request.bucket,
        "object_name": f"{agent_id}/{task_id}/batch",
        "name": request.real_name,
        "content_type": "multipart/mixed",
        "path": request.sources[0],
        "user_metadata": request.metadata or None,
    }


def admit(session: Session, agent: Agent, batch: Transfer, request: UploadManyRequest) -> None:
    """Write down the files. Raises InvalidRequest, AccessDenied, BucketNotFound."""
    spools = {spool_of(fleet().settings, source) for source in request.sources}
    if len(spools) > 1:
        raise InvalidRequest("The files of one request must lie in one spool: send two requests.")
    if request.share_with:
        own_folder = Place(bucket=batch.bucket, path=f"{agent.id}/")
        grantees_of(session, agent, own_folder, request.share_with)
    ask(session, batch.id, request.sources, request.share_with)


def look(batch: Transfer, lease: Lease) -> Sequence[BatchFile]:
    """Its files as they are now; one that cannot be sent with the reason for it.

    Raises LeaseLost where somebody else has planned it meanwhile.
    """
    asked = fleet().transact(lambda session: as_asked(session, batch.id))
    if asked is None:
        raise LeaseLost
    looked_at = []
    for file in asked.files:
        lease.check()
        looked_at.append(_look_at(batch, file))
    return looked_at


def _look_at(batch: Transfer, file: BatchFile) -> BatchFile:
    try:
        with fleet().spool.source(file.path) as source:
            fingerprint = source.fingerprint
        _check_size(file, fingerprint.size)
        bucket = fleet().bucket(batch.bucket)
        check_limits(file.name, type_of(file.name), bucket, fingerprint.size)
    except Error as error:
        if error.retryable:
            raise
        return replace(file, code=error.code, message=error.message)
    return replace(file, fingerprint=fingerprint.document())


def _check_size(file: BatchFile, size: int) -> None:
    most = fleet().settings.chunk_threshold
    if size > most:
        raise ObjectTooLarge(
            f"{file.path} has {size} bytes, a file of many at most {most}: send it with "
            "transfer.upload."
        )


def cut(files: Sequence[BatchFile], most_bytes: int) -> Sequence[Sequence[BatchFile]]:
    """The files in parcels, in their order: of `PARCEL_FILES` and `most_bytes` at most."""
    parcels: list[list[BatchFile]] = [[]]
    for file in files:
        size = sum(one.size for one in parcels[-1])
        full = len(parcels[-1]) == PARCEL_FILES or size + file.size > most_bytes
        if parcels[-1] and full:
            parcels.append([])
        parcels[-1].append(file)
    return parcels


def told(batch: Transfer) -> list[FileReference | dict[str, str]]:
    """What came of its files, in the order in which they were asked for."""
    rows = fleet().transact(lambda session: came_of(session, batch.id))
    return [_told(file, row) for file, row in rows]


def _told(file: BatchFile, row: Transfer | None) -> FileReference | dict[str, str]:
    if row is not None and row.reference is not None:
        return FileReference.parse(row.reference)
    code = (row and row.error_code) or ObjectNotFound.code
    message = (row and row.error_message) or f"{file.name} was removed long ago."
    return {"error": code, "message": message, "source": file.path}
