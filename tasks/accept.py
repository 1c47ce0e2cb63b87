"""Requests become rows: who asks is verified, and the same request twice is one transfer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from celery.exceptions import Reject
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from argosy.auth import TOKEN_HEADER, Identity
from argosy.errors import (
    AccessDenied,
    Error,
    IdempotencyConflict,
    InvalidRequest,
    StorageUnavailable,
)
from argosy.storage.retry import RetryPolicy
from models import Agent, Transfer
from models.continuations import add
from models.transitions import record
from tasks.base import RequestTask
from tasks.envelope import check_signatures, put_on, take_off
from tasks.fleet import fleet
from tasks.messages import carried
from tasks.naming import object_name
from tasks.refusal import is_task_id, refuse
from tasks.requests import DownloadRequest, UploadRequest, parse

log = structlog.get_logger(__name__)


def accept(
    task: RequestTask, kind: type[UploadRequest] | type[DownloadRequest], **arguments: Any
) -> Transfer:
    """The row of the transfer that a message asks for, made or found.

    Raises NotSignedIn, InvalidToken, AccessDenied, InvalidRequest,
    InvalidReference, IdempotencyConflict; and Ignore where the refusal must not
    be recorded as the result of the task id, because that is another transfer's.
    """
    try:
        return _accept(task, kind, arguments)
    except StorageUnavailable as error:
        log.warning("request.handed_back", code=error.code)
        raise Reject(error.code, requeue=True) from None
    except Error as error:
        refuse(task, error)
        raise


def _accept(
    task: RequestTask,
    kind: type[UploadRequest] | type[DownloadRequest],
    arguments: dict[str, Any],
) -> Transfer:
    settings = fleet().settings
    identity = _identify(task)
    task_id = _uuid(task.request.id)
    caller = _with_envelope(task)
    request = parse(kind, **arguments)

    def work(session: Session) -> Transfer:
        _require_agent(session, identity)
        transfer = _find_or_add(session, task_id, identity.agent_id, request)
        if not add(session, task_id, transfer.id, caller, settings.republish_seconds):
            raise IdempotencyConflict("This task id waits for another transfer: use a new one.")
        return transfer

    transfer = fleet().transact(work)
    task.request.acting_for = identity.agent_id
    structlog.contextvars.bind_contextvars(transfer_id=str(transfer.id))
    log.info("request.accepted", agent_id=str(identity.agent_id))
    return transfer


def _identify(task: RequestTask) -> Identity:
    """Who sent the message. Its token may have expired while it waited in the queue."""
    settings = fleet().settings
    token = task.request.get(TOKEN_HEADER)
    policy = RetryPolicy(attempts=10_000, deadline_seconds=settings.database_wait_seconds)
    return policy.run(
        lambda: fleet().verifier.verify(token, leeway_seconds=settings.request_wait_seconds)
    )


def _with_envelope(task: RequestTask) -> dict[str, Any]:
    """What rides along, checked; from here on Celery may publish it."""
    put_on(task.request)
    try:
        caller = carried(task.request)
        check_signatures(caller)
    except InvalidRequest:
        take_off(task.request)
        raise
    return caller


def _uuid(task_id: str) -> UUID:
    if not is_task_id(task_id):
        raise InvalidRequest("The task id must be a UUID as Celery makes them: lower case, dashes.")
    return UUID(task_id)


def _require_agent(session: Session, identity: Identity) -> None:
    agent = session.get(Agent, identity.agent_id)
    if agent is None or agent.disabled_at is not None:
        state = "unknown to this fleet" if agent is None else "disabled"
        raise AccessDenied(f"Agent {identity.agent_id} is {state}: ask the fleet's operator.")


def _find_or_add(
    session: Session, task_id: UUID, agent_id: UUID, request: UploadRequest | DownloadRequest
) -> Transfer:
    added = session.scalars(
        insert(Transfer)
        .values(
            id=task_id,
            agent_id=agent_id,
            kind=request.kind,
            request_sha256=request.fingerprint(),
            idempotency_key=request.idempotency_key,
            republish_at=func.now() + timedelta(seconds=fleet().settings.republish_seconds),
            **_columns(request, agent_id, task_id),
        )
        .on_conflict_do_nothing()
        .returning(Transfer)
    ).one_or_none()
    if added is not None:
        record(session, "transfer.queued", added, to_state=added.state)
        return added
    return _same_request(session, task_id, agent_id, request)


def _same_request(
    session: Session, task_id: UUID, agent_id: UUID, request: UploadRequest | DownloadRequest
) -> Transfer:
    by_key = (Transfer.agent_id == agent_id, Transfer.idempotency_key == request.idempotency_key)
    found = session.get(Transfer, task_id) or session.scalars(select(Transfer).where(*by_key)).one()
    if found.agent_id != agent_id or found.request_sha256 != request.fingerprint():
        raise IdempotencyConflict(
            "This task id or idempotency key was used for a different request: use a new one."
        )
    return found


def _columns(
    request: UploadRequest | DownloadRequest, agent_id: UUID, task_id: UUID
) -> dict[str, Any]:
    if isinstance(request, UploadRequest):
        return {
            "bucket": request.bucket,
            "object_name": object_name(agent_id, task_id, request.real_name),
            "name": request.real_name,
            "content_type": request.media_type,
            "path": request.source,
        }
    reference = request.reference
    return {
        "bucket": reference.bucket,
        "object_name": reference.path,
        "name": reference.name,
        "content_type": reference.content_type,
        "path": request.destination,
        "size": reference.size,
        "sha256": reference.sha256,
        "reference": reference.document(),
    }
