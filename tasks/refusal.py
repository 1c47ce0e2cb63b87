"""Refusals: recorded, and kept out of results that belong to somebody else."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import Task
from celery.exceptions import Ignore
from sqlalchemy.orm import Session

from argosy.errors import Error
from models import Act, Continuation, Outcome, Transfer
from models.transitions import record
from tasks.fleet import fleet

log = structlog.get_logger(__name__)


def refuse(task: Task, error: Error) -> None:
    """Record that a request was refused.

    Raises Ignore where the task id is a transfer's or a waiting caller's: the refusal must
    not become that transfer's result.
    """
    task_id = task.request.id
    log.info("request.refused", code=error.code)

    def work(session: Session) -> bool:
        record(
            session,
            "request.refused",
            agent_id=task.request.get("sent_by"),
            worker=task.worker,
            outcome=Outcome.REFUSED,
            reason=error.code,
            object=task.request.get("about"),
            request_id=ascii(task_id)[1:-1][:80],
            detail={"task": task.name},
        )
        return is_task_id(task_id) and _is_taken(session, UUID(task_id), task)

    if fleet().transact(work):
        raise Ignore("the task id is another transfer's")


def _is_taken(session: Session, task_id: UUID, task: Task) -> bool:
    """Whether it is another request's; an act that fails later is still that act."""
    if session.get(Transfer, task_id) or session.get(Continuation, task_id):
        return True
    act = session.get(Act, task_id)
    own = (task.request.get("sent_by"), task.request.get("asked"))
    return act is not None and (act.agent_id, act.request_sha256) != own


def is_task_id(task_id: str) -> bool:
    """Whether this is a UUID in its one canonical spelling: results are kept by spelling."""
    try:
        return str(UUID(task_id)) == task_id
    except ValueError:
        return False
