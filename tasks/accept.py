"""Requests become rows: who asks is verified, and the same request twice is one transfer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from argosy.errors import AccessDenied, BucketNotFound, IdempotencyConflict
from argosy.naming import object_name
from models import Access, Act, Agent, Priority, Transfer
from models.access import NOT_OURS, decide
from models.continuations import add
from models.entering import enter
from models.transitions import record
from models.turns import has_room
from tasks import batches, copying
from tasks.base import RequestTask
from tasks.fleet import fleet
from tasks.kept import require_kept
from tasks.requests import (
    CopyRequest,
    DownloadRequest,
    Place,
    UploadManyRequest,
    UploadRequest,
)
from tasks.sender import Sender, require_agent
from tasks.serve import serve
from tasks.sharing import share
from tasks.steps import AutoStep, documents_of
from tasks.tracing import asked_in_trace
from tasks.turns import slots_of
from tasks.used import used_otherwise

log = structlog.get_logger(__name__)

AnyRequest = UploadRequest | UploadManyRequest | DownloadRequest | CopyRequest


def accept(task: RequestTask, kind: type[AnyRequest], **arguments: Any) -> Transfer:
    """The row of the transfer that a message asks for, made or found.

    Raises NotSignedIn, InvalidToken, AccessDenied, InvalidRequest,
    InvalidReference, IdempotencyConflict; and Ignore where the refusal must not
    be recorded as the result of the task id, because that is another transfer's.
    """
    transfer = serve(task, kind, _enter, **arguments)
    structlog.contextvars.bind_contextvars(transfer_id=str(transfer.id))
    log.info("request.accepted", agent_id=str(task.request.acting_for))
    return transfer


def _enter(session: Session, sender: Sender, request: AnyRequest) -> Transfer:
    agent = require_agent(session, sender)
    transfer = _find_or_add(session, sender.task_id, agent, request)
    wants_all = isinstance(request, UploadRequest) and request.process == "auto"
    owe(session, sender, transfer, [AutoStep()] if wants_all else ())
    return transfer


def owe(
    session: Session, sender: Sender, transfer: Transfer, steps: Sequence[AutoStep] = ()
) -> None:
    """Note that the sender waits for this transfer, and for what is done with it then.

    Raises IdempotencyConflict where its task id is another request's.
    """
    again = fleet().settings.republish_seconds
    wanted = {"steps": documents_of(steps)} if steps else {}
    if add(session, sender.task_id, transfer.id, sender.caller, again, **wanted):
        return
    if session.get(Act, sender.task_id):
        raise used_otherwise()
    raise IdempotencyConflict("This task id waits for another transfer: use a new one.")


def _find_or_add(session: Session, task_id: UUID, agent: Agent, request: AnyRequest) -> Transfer:
    slots = slots_of(fleet().settings)
    added = enter(
        session,
        priority=Priority(request.priority),
        begins=has_room(session, agent, slots),
        republish_seconds=fleet().settings.republish_seconds,
        id=task_id,
        agent_id=agent.id,
        kind=request.kind,
        request_sha256=request.fingerprint(),
        idempotency_key=request.idempotency_key,
        **_columns(request, agent.id, task_id),
    )
    if added is not None:
        _admit(session, agent, added, request)
        detail = {"kind": added.kind, **asked_in_trace()}
        record(session, "transfer.queued", added, to_state=added.state, detail=detail)
        return added
    return _same_request(session, task_id, agent.id, request)


def _admit(session: Session, agent: Agent, transfer: Transfer, request: AnyRequest) -> None:
    """See that the agent may have it done, and share what will be there."""
    if isinstance(request, DownloadRequest):
        require_kept(session, agent, [request.reference])
        return
    if isinstance(request, CopyRequest):
        copying.look_up(session, agent, transfer, request)
    may_upload(session, agent, transfer.name, transfer.bucket, transfer.object_name)
    if isinstance(request, UploadManyRequest):
        batches.admit(session, agent, transfer, request)
        return
    if request.share_with:
        place = Place(bucket=transfer.bucket, path=transfer.object_name)
        share(session, agent, place, request.share_with, request_id=transfer.id)


def may_upload(session: Session, agent: Agent, name: str, bucket: str, path: str) -> None:
    """Refuse at the door what the policies would: a failed upload is cleaned up after.

    Raises BucketNotFound, AccessDenied.
    """
    decision = decide(session, agent.id, bucket, path, Access.WRITE)
    if decision.because == NOT_OURS:
        raise BucketNotFound(f"There is no bucket {bucket} in this fleet.")
    if not decision.allowed:
        raise AccessDenied(
            f"Agent {agent.name} may not upload {name} to {bucket}: {decision.because}."
        )


def _same_request(session: Session, task_id: UUID, agent_id: UUID, request: AnyRequest) -> Transfer:
    by_key = (Transfer.agent_id == agent_id, Transfer.idempotency_key == request.idempotency_key)
    found = session.get(Transfer, task_id) or session.scalars(select(Transfer).where(*by_key)).one()
    if found.agent_id != agent_id or found.request_sha256 != request.fingerprint():
        raise IdempotencyConflict(
            "This task id or idempotency key was used for a different request: use a new one."
        )
    return found


def _columns(request: AnyRequest, agent_id: UUID, task_id: UUID) -> dict[str, Any]:
    if isinstance(request, UploadRequest):
        return {
            "bucket": request.bucket,
            "object_name": object_name(agent_id, task_id, request.real_name),
            "name": request.real_name,
            "content_type": request.media_type,
            "path": request.source,
            "user_metadata": request.metadata or None,
            "compress": request.compress,
        }
    if isinstance(request, CopyRequest):
        return copying.columns(request, agent_id, task_id)
    if isinstance(request, UploadManyRequest):
        return batches.columns(request, agent_id, task_id)
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
