"""Requests that are done at once: who asks is verified, then it is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from models import Act, Agent, Continuation, Transfer
from tasks.base import RequestTask
from tasks.requests import Request
from tasks.sender import Sender, asked, require_agent
from tasks.serve import serve
from tasks.used import used_otherwise

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Entered:
    """A request that is noted; `again` when its message came before."""

    id: UUID
    again: bool


RequestT = TypeVar("RequestT", bound=Request)
Answer = TypeVar("Answer")


def act(
    task: RequestTask,
    kind: type[RequestT],
    work: Callable[[Session, Agent, RequestT, Entered], Answer],
    **arguments: Any,
) -> Answer:
    """Do `work` for the agent that sent the message, told whether it came `again`.

    Raises what `accept` raises, and what `work` raises; a refusal is recorded.
    """

    def entered(session: Session, sender: Sender, request: RequestT) -> Answer:
        agent = require_agent(session, sender)
        return work(session, agent, request, _enter(session, sender, asked(task, request)))

    answer = serve(task, kind, entered, **arguments)
    log.info("request.done", agent_id=str(task.request.acting_for))
    return answer


def _enter(session: Session, sender: Sender, what: str) -> Entered:
    """Note the request. Raises IdempotencyConflict when its id was another request's."""
    row = insert(Act).values(id=sender.task_id, agent_id=sender.agent_id, request_sha256=what)
    added = session.scalar(row.on_conflict_do_nothing().returning(Act.id))
    entered = session.get_one(Act, sender.task_id)
    same = (entered.agent_id, entered.request_sha256) == (sender.agent_id, what)
    taken = any(session.get(kind, sender.task_id) for kind in (Transfer, Continuation))
    if not same or taken:
        raise used_otherwise()
    return Entered(sender.task_id, again=added is None)
