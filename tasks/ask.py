"""Requests to do something with a stored file: who asks is verified, then the step is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from celery.exceptions import Ignore
from sqlalchemy.orm import Session

from argosy.errors import AccessDenied, InvalidReference, ObjectNotFound
from argosy.naming import derived_folder
from argosy.reference import FileReference
from models import FILES, Access, Act, Agent, Continuation, State, Transfer
from models.access import decide, sees
from models.continuations import add
from models.derivatives import ask_again
from models.following import COMPRESSED, derivative_at
from models.transitions import record
from tasks.base import RequestTask
from tasks.fleet import fleet
from tasks.kept import require_kept
from tasks.messages import send_continuation
from tasks.requests import StepRequest
from tasks.sender import Sender, require_agent
from tasks.serve import serve
from tasks.steps import AutoStep, InspectStep, MakingStep, documents_of, keys_of
from tasks.used import used_otherwise

log = structlog.get_logger(__name__)


def ask(task: RequestTask, kind: type[StepRequest], **arguments: Any) -> FileReference:
    """Do what a message asks for with a stored file; its reference, with what came of it.

    Raises what `accept` raises, and ObjectNotFound; else Ignore, for others do it, and
    record the result under the same task id.
    """
    continuation, transfer = serve(task, kind, _enter, **arguments)
    structlog.contextvars.bind_contextvars(transfer_id=str(transfer.id))
    log.info("request.accepted", agent_id=str(task.request.acting_for))
    send_continuation(continuation)
    raise Ignore("it is made by those who read the queue of media")


def _enter(session: Session, sender: Sender, request: StepRequest) -> tuple[Continuation, Transfer]:
    """Note that the sender waits for this, once."""
    agent, task_id = require_agent(session, sender), sender.task_id
    is_new = session.get(Continuation, task_id) is None
    transfer = stored_file(session, agent, request.reference)
    steps = request.steps(fleet().settings)
    _check_rights(session, agent, transfer, steps)
    taken = any(session.get(kind, task_id) for kind in (Act, Transfer))
    if taken or not add(
        session,
        task_id,
        transfer.id,
        sender.caller,
        fleet().settings.republish_seconds,
        agent_id=agent.id,
        steps=documents_of(steps),
        encoding=request.reference.encoding,
    ):
        raise used_otherwise()
    if is_new:
        _begin(session, agent, transfer, steps, task_id)
    return session.get_one(Continuation, task_id), transfer


def _begin(
    session: Session,
    agent: Agent,
    transfer: Transfer,
    steps: Sequence[MakingStep | AutoStep],
    task_id: UUID,
) -> None:
    """Who asks anew has what failed tried once more."""
    for step in steps:
        if not isinstance(step, AutoStep):
            ask_again(session, transfer.id, agent.id, keys_of(step))
    names = [step.step for step in steps]
    record(
        session,
        "file.processed",
        transfer,
        agent_id=agent.id,
        request_id=str(task_id),
        detail={"steps": names},
    )


def stored_file(session: Session, agent: Agent, reference: FileReference) -> Transfer:
    """The stored file that a reference names, by its path or by that of its compressed copy.

    Raises ObjectNotFound, also for what the agent may not read; InvalidReference.
    """
    require_kept(session, agent, [reference])
    transfer = session.get(Transfer, reference.id)
    paths = {reference.path, transfer.object_name if transfer else reference.path}
    if not all(sees(session, agent.id, reference.bucket, path) for path in paths):
        raise ObjectNotFound(
            f"{reference.name} is not in {reference.bucket}, or agent {agent.name} may not read it."
        )
    if transfer is None or transfer.kind not in FILES or transfer.state != State.COMPLETED:
        raise ObjectNotFound(f"{reference.name} is not in the fleet's books: register it first.")
    if reference.bucket != transfer.bucket or not _is_of(session, transfer, reference.path):
        raise InvalidReference(
            f"{reference.name} is not at {reference.path}: ask its owner for a new reference."
        )
    return transfer


def _is_of(session: Session, transfer: Transfer, path: str) -> bool:
    """Whether the file lies there, as it was sent or compressed."""
    if path == transfer.object_name:
        return True
    one = derivative_at(session, transfer.id, path)
    return one is not None and one.kind == COMPRESSED


def _check_rights(
    session: Session,
    agent: Agent,
    transfer: Transfer,
    steps: Sequence[MakingStep | AutoStep],
) -> None:
    """Raise AccessDenied where something is to be stored beside a file that is not one's own."""
    if all(isinstance(step, InspectStep) for step in steps):
        return
    folder = derived_folder(transfer.object_name)
    decision = decide(session, agent.id, transfer.bucket, f"{folder}any", Access.WRITE)
    if not decision.allowed:
        raise AccessDenied(
            f"Agent {agent.name} may not store beside {transfer.name} ({decision.because}): "
            "copy the file first, or ask its owner."
        )
