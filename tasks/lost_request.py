"""A request that the broker gave up before it became a row: its caller is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from celery import states
from celery.exceptions import Ignore
from sqlalchemy.orm import Session

from argosy.errors import Error, InternalError, InvalidRequest, StorageUnavailable, TooManyAttempts
from models import Act
from tasks.base import RequestTask
from tasks.envelope import take_off
from tasks.fleet import fleet
from tasks.letter import Letter
from tasks.refusal import is_task_id, refuse
from tasks.sender import known

log = structlog.get_logger(__name__)

LEEWAY_SECONDS = 100 * 86400.0
"""How long ago a letter's token may have expired: nobody knows how old the letter is."""


def answer(task: RequestTask, letter: Letter, hostname: str) -> bool:
    """Record that the request failed, for a caller whose token holds; False where there is none.

    Nothing is recorded where a transfer, a waiting caller or another's act has the id: those
    have an outcome of their own. Raises StorageUnavailable while Auth's keys cannot be had, and
    RedisError, OSError, BackendError or Reject while the result store is away: then the letter
    must come again.
    """
    if letter.headers is None or not is_task_id(letter.headers["id"]):
        return False
    with _standing_in(task, letter, hostname):
        error = _refusal(task, letter)
        if error is None or _has_outcome(task):
            return False
        task.request.asked = fleet().transact(lambda session: _own_act(session, task))
        try:
            refuse(task, error)
        except Ignore:
            return False
        task.backend.mark_as_failure(task.request.id, error, request=task.request)
    log.info("letter.answered", task_id=letter.task_id, code=error.code)
    return True


@contextmanager
def _standing_in(task: RequestTask, letter: Letter, hostname: str) -> Iterator[None]:
    """Have the task look as it would to a worker that took its message; nothing rides along."""
    _, _, rides = letter.body or ([], {}, None)
    fields: dict[str, Any] = {**(letter.headers or {}), **(rides or {}), "hostname": hostname}
    for known_later in ("acting_for", "sent_by", "about", "asked"):
        fields[known_later] = None
    task.push_request(**fields)
    try:
        take_off(task.request)
        yield
    finally:
        task.pop_request()


def _refusal(task: RequestTask, letter: Letter) -> Error | None:
    """What its sender is told; None where nobody known has sent it."""
    try:
        known(task, leeway_seconds=LEEWAY_SECONDS)
    except StorageUnavailable:
        raise
    except Error as wrong:  # else what rides along is not to be published
        return wrong if task.request.sent_by else None
    return _why(letter)


def _own_act(session: Session, task: RequestTask) -> str | None:
    """What was asked, where this request was entered as an act: its outcome was never recorded."""
    act = session.get(Act, UUID(task.request.id))
    if act is None or act.agent_id != task.request.sent_by:
        return None
    return act.request_sha256 if act.request_sha256.startswith(f"{task.name}:") else None


def _why(letter: Letter) -> Error:
    where = f"The request {letter.task} was in {letter.death.queue}"
    if letter.death.reason == "expired":
        return InvalidRequest(f"{where} for longer than its sender allowed: send it again.")
    if letter.death.reason == "delivery_limit":
        return TooManyAttempts(
            f"{where}, and came back from the workers too often to be tried again: look at their "
            "logs, then send it again."
        )
    return InternalError(f"{where}, and was put aside ({letter.death.reason}): send it again.")


def _has_outcome(task: RequestTask) -> bool:
    return task.backend.get_task_meta(task.request.id, cache=False)["status"] in states.READY_STATES
