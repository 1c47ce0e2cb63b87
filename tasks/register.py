"""`transfer.register`: a file that its agent has uploaded itself enters the fleet's books."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from argosy.errors import (
    AccessDenied,
    ChecksumMismatch,
    IdempotencyConflict,
    InvalidReference,
    InvalidRequest,
    ObjectNotFound,
)
from argosy.naming import object_name
from argosy.reference import FileReference
from argosy.storage.checksum import etag_agrees, plain_etag
from argosy.storage.retry import RetryPolicy
from models import Agent, Kind, State, Transfer
from models.grants import belong_to, end_with_file, granted_on
from models.tombstone import epitaph
from models.transitions import record
from tasks.accept import may_upload, owe
from tasks.control import ControlTask
from tasks.describe import describe_object, reference_to
from tasks.fleet import fleet
from tasks.quota import check_quota
from tasks.requests import Place, RegisterRequest
from tasks.sender import Sender, known, parsed, refusing, require_agent
from tasks.sharing import share

log = structlog.get_logger(__name__)

BY_ITSELF = ""
"""The `path` of a row whose file its agent has moved without the fleet: there is none."""


@shared_task(bind=True, base=ControlTask, name="transfer.register")
def register(
    self: ControlTask,
    reference: dict[str, Any],
    etag: str,
    share_with: list[str] | None = None,
) -> FileReference:
    """Enter a file that the sender has stored in its own folder.

    The task's id is the reference's, and its path `<agent id>/<id>/<safe name>`.
    `etag` is Storage's answer to the upload. Size and ETag are compared with
    what Storage has; the SHA-256 is the agent's word for its receivers to check,
    as is what the file comes to where the object is an encoded one.
    The result is the reference as the fleet knows it: it says when the file expires.
    Fails with object_not_found, checksum_mismatch, quota_exceeded.
    """
    with refusing(self):
        sender = known(self)
        request = parsed(
            self, RegisterRequest, reference=reference, etag=etag, share_with=share_with or ()
        )
        if not fleet().transact(lambda session: _look(session, sender, request)):
            _verify(sender.agent_id, request)
        transfer = fleet().transact(lambda session: _enter(session, sender, request))
    self.request.acting_for = sender.agent_id
    if transfer.state == State.EXPIRED:  # that is how it ended
        raise ObjectNotFound(f"{epitaph(transfer)} Upload it again, under another id.")
    log.info("file.registered", transfer_id=str(transfer.id), agent_id=str(sender.agent_id))
    return FileReference.parse(transfer.reference or {})


def _look(session: Session, sender: Sender, request: RegisterRequest) -> Transfer | None:
    """The file's row, if the message came before; else whether the sender may register it.

    Raises InvalidRequest, InvalidReference, AccessDenied, BucketNotFound, IdempotencyConflict.
    """
    agent, file = require_agent(session, sender), request.reference
    _check_own(agent, sender.task_id, file)
    if session.get(Transfer, sender.task_id):
        return _same(session, sender, request)
    may_upload(session, agent, file.name, file.bucket, file.path)
    return None


def _same(session: Session, sender: Sender, request: RegisterRequest) -> Transfer:
    found = session.get_one(Transfer, sender.task_id)
    if (found.agent_id, found.request_sha256) != (sender.agent_id, request.fingerprint()):
        raise IdempotencyConflict(
            f"{found.id} is a different transfer: upload {request.reference.name} again."
        )
    return found


def _check_own(agent: Agent, task_id: UUID, file: FileReference) -> None:
    if file.id != task_id:
        raise InvalidRequest(
            f"{file.name} is registered with its own id as the task's: send {file.id}."
        )
    if file.owner != agent.id:
        raise AccessDenied(f"{file.name} is not agent {agent.name}'s to register: its owner may.")
    place = object_name(agent.id, file.id, file.name)
    if file.path != place:
        raise InvalidReference(f"{file.name} must be stored as {place} to be registered.")


def _verify(agent_id: UUID, request: RegisterRequest) -> None:
    """Compare with what Storage has, as the agent sees it.

    Raises ObjectNotFound, ChecksumMismatch, StorageUnavailable.
    """
    file = request.reference
    # A message is handed back a limited number of times: each lasts as long as it may.
    patience = fleet().settings.storage_deadline_seconds
    policy = RetryPolicy(attempts=10_000, deadline_seconds=patience)
    store = fleet().store_for(agent_id)
    try:
        head = policy.run(lambda: store.head(file.bucket, file.path))
    except ObjectNotFound:
        raise ObjectNotFound(f"{file.name} is not in {file.bucket}: upload it first.") from None
    parts = file.chunk_count if file.chunk_count > 1 else None  # S3 may cut one body by itself
    md5 = file.stored.md5 if file.stored else file.md5
    agrees = etag_agrees(head.etag, md5=md5, parts=parts) is not False
    is_it = plain_etag(request.etag).lower() == plain_etag(head.etag).lower()
    if head.size != file.stored_size or not (agrees and is_it):
        raise ChecksumMismatch(
            f"{file.name} has {head.size} bytes and ETag {head.etag} in Storage, its reference "
            f"says {file.stored_size} bytes, ETag {request.etag} and MD5 {md5}: upload it again."
        )


def _enter(session: Session, sender: Sender, request: RegisterRequest) -> Transfer:
    agent = require_agent(session, sender)
    added = session.scalars(
        insert(Transfer)
        .values(_columns(agent.id, request))
        .on_conflict_do_nothing()
        .returning(Transfer)
    ).one_or_none()
    if added is not None:
        _complete(session, agent, added, request)
    transfer = added or _same(session, sender, request)
    owe(session, sender, transfer)
    return transfer


def _complete(session: Session, agent: Agent, transfer: Transfer, request: RegisterRequest) -> None:
    """Share the file, say at its object what the fleet knows, and make its reference.

    Raises QuotaExceeded.
    """
    size = request.reference.stored_size
    check_quota(session, agent.id, transfer.name, size, stores=True, entered=True)
    place = Place(bucket=transfer.bucket, path=transfer.object_name)
    belong_to(session, transfer.id, bucket=place.bucket, path=place.path)
    share(session, agent, place, request.share_with, request_id=transfer.id)
    end_with_file(session, transfer.id, transfer.expires_at)
    describe_object(session, transfer)
    grants = granted_on(session, bucket=place.bucket, path=place.path)
    transfer.reference = reference_to(transfer, grants).document()
    detail = {"kind": transfer.kind, "size": transfer.size}
    record(session, "transfer.registered", transfer, to_state=transfer.state, detail=detail)


def _columns(agent_id: UUID, request: RegisterRequest) -> dict[str, Any]:
    """A row that has been through it all; when its file expires is the fleet's to say."""
    file, settings = request.reference, fleet().settings
    days = timedelta(days=settings.retention_days)
    return {
        "id": file.id,
        "kind": Kind.UPLOAD,
        "state": State.COMPLETED,
        "agent_id": agent_id,
        "request_sha256": request.fingerprint(),
        "bucket": file.bucket,
        "object_name": file.path,
        "name": file.name,
        "content_type": file.content_type,
        "user_metadata": dict(file.metadata) or None,
        "path": BY_ITSELF,
        "size": file.size,
        "sha256": file.sha256,
        "md5": file.md5,
        "etag": plain_etag(request.etag),
        "encoding": file.encoding,
        "stored_size": file.stored.size if file.stored else None,
        "stored_sha256": file.stored.sha256 if file.stored else None,
        "stored_md5": file.stored.md5 if file.stored else None,
        "part_size": file.chunk_size,
        "part_count": file.chunk_count,
        "chunks_left": 0,
        "bytes_done": file.size,
        "expires_at": datetime.now(UTC) + days if file.bucket == settings.bucket else None,
        "started_at": func.now(),  # by it the bytes of a day are counted
        "ended_at": func.now(),
    }
