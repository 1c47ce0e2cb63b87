"""A request from its message to its answer: who asks is verified, then it is one transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from tasks.base import RequestTask
from tasks.fleet import fleet
from tasks.requests import Request
from tasks.sender import Sender, known, parsed, refusing

RequestT = TypeVar("RequestT", bound=Request)
Answer = TypeVar("Answer")


def serve(
    task: RequestTask,
    kind: type[RequestT],
    work: Callable[[Session, Sender, RequestT], Answer],
    **arguments: Any,
) -> Answer:
    """What `work` makes of the request of a message; from then on the task acts for its sender.

    A refusal is recorded. Raises NotSignedIn, InvalidToken, AccessDenied, InvalidRequest,
    InvalidReference, and what `work` raises; and Ignore where the refusal must not become the
    result of the task id, because that is another request's.
    """
    with refusing(task):
        sender = known(task)
        request = parsed(task, kind, **arguments)
        answer = fleet().transact(lambda session: work(session, sender, request))
    task.request.acting_for = sender.agent_id
    return answer
