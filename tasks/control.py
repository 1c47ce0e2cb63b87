"""What the tasks share by which a transfer is steered and looked at: whose it is, how to ask.

They have a queue of their own, so that they do not wait behind the files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar
from uuid import UUID

import structlog
from pydantic import Field
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.orm import Session

from argosy.errors import TransferNotFound
from models import Act, Agent, Continuation, Role, Transfer
from models.status import explain
from tasks.base import RequestTask
from tasks.fleet import fleet
from tasks.messages import CONTROL
from tasks.requests import Request
from tasks.sender import Sender, require_agent
from tasks.serve import serve
from tasks.used import used_otherwise

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 600
"""How long a look at a transfer stays in the result store: who polls must not fill it."""

TransferId = Annotated[UUID, Field(strict=False)]
RequestT = TypeVar("RequestT", bound=Request)
Answer = TypeVar("Answer")


class ControlRequest(Request):
    """What names a transfer, and nothing else."""

    transfer: TransferId

    @property
    def about(self) -> str:
        """The transfer that is meant, as the audit names it."""
        return f"transfer {self.transfer}"


class ControlTask(RequestTask):
    """A task that steers a transfer: it goes past the requests that move bytes."""

    abstract = True
    routing_key = CONTROL


class LookTask(ControlTask):
    """A task that only looks: its result is kept for a short time."""

    abstract = True

    def after_return(self, status: str, value: Any, task_id: str, *rest: Any) -> None:
        """Celery has recorded the result."""
        super().after_return(status, value, task_id, *rest)
        try:
            self.backend.expire(self.backend.get_key_for_task(task_id), ANSWER_SECONDS)
        except (RedisError, OSError) as error:  # then it goes with the other results
            log.warning("answer.kept", error=type(error).__name__)


def own(session: Session, agent: Agent, transfer_id: UUID, *, to_change: bool = False) -> Transfer:
    """A transfer of the agent's, or any for an admin; `to_change` holds its row.

    Raises TransferNotFound, also for what is another agent's.
    """
    query = select(Transfer).where(Transfer.id == transfer_id)
    if agent.role != Role.ADMIN:
        query = query.where(Transfer.agent_id == agent.id)
    if to_change:
        query = query.with_for_update()
    found = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if found is None:
        raise TransferNotFound(
            f"Agent {agent.name} has no transfer {transfer_id}: give the id of the task "
            "that asked for it, once a worker has taken it."
        )
    return found


def status_of(session: Session, transfer: Transfer) -> dict[str, Any]:
    """The status document, with the fleet's own window."""
    return explain(session, transfer, window=fleet().settings.window)


def look(
    task: RequestTask,
    kind: type[RequestT],
    work: Callable[[Session, Agent, RequestT], Answer],
    **arguments: Any,
) -> Answer:
    """Answer the agent that sent the message. Nothing is entered: to ask again is to ask anew.

    Raises what `accept` raises, and what `work` raises; a refusal is recorded.
    """

    def looked(session: Session, sender: Sender, request: RequestT) -> Answer:
        agent = require_agent(session, sender)
        _require_own_id(session, sender)
        return work(session, agent, request)

    return serve(task, kind, looked, **arguments)


def _require_own_id(session: Session, sender: Sender) -> None:
    """The answer must not become the result of another request."""
    if any(session.get(kind, sender.task_id) for kind in (Transfer, Continuation, Act)):
        raise used_otherwise()
