"""Who sent a request, and what happens when the fleet will not do it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from celery.exceptions import Reject
from sqlalchemy.orm import Session

from argosy.auth import TOKEN_HEADER
from argosy.errors import AccessDenied, AccessError, Error, InvalidRequest, StorageUnavailable
from argosy.mailbox import inbox_of
from argosy.storage.retry import RetryPolicy
from argosy.tokens import Identity
from models import Agent
from tasks.base import RequestTask
from tasks.envelope import (
    check_inboxes,
    check_signatures,
    put_on_once_checked,
    send_to,
    signatures_in,
    take_off,
)
from tasks.fleet import fleet
from tasks.messages import carried
from tasks.refusal import is_task_id, refuse
from tasks.requests import Request, RequestT, parse

log = structlog.get_logger(__name__)

KEYS_WAIT_SECONDS = 15.0
"""How long a request waits for the public keys of Auth: anybody may name a key that is none."""


@dataclass(frozen=True)
class Sender:
    """The agent that a token speaks for, and what is to be called when the task has ended."""

    agent_id: UUID
    task_id: UUID
    caller: dict[str, Any]


@contextmanager
def refusing(task: RequestTask) -> Iterator[None]:
    """Record a refusal; nothing rides along with the request of one who has no access.

    Raises Reject where the message of a known sender must come again, and Ignore where the
    refusal must not become the result of the task id, because that is another request's.
    """
    try:
        yield
    except Error as error:
        if isinstance(error, StorageUnavailable) and task.request.get("sent_by"):
            log.warning("request.handed_back", code=error.code)
            raise Reject(error.code, requeue=True) from None
        if isinstance(error, AccessError):
            take_off(task.request)
        refuse(task, error)
        raise


def known(task: RequestTask, *, leeway_seconds: float | None = None) -> Sender:
    """Who sent the message, by its token, which may have expired `leeway_seconds` ago.

    By default so long as a request may wait in the queue. From here on Celery may publish what
    rides along with it, to queues of the sender's own.
    Raises NotSignedIn, InvalidToken, AccessDenied, InvalidRequest, StorageUnavailable.
    """
    if leeway_seconds is None:
        leeway_seconds = fleet().settings.request_wait_seconds
    identity = identify(task.request.get(TOKEN_HEADER), leeway_seconds)
    task.request.sent_by = identity.agent_id
    task_id = _task_id(task.request.id)
    with put_on_once_checked(task.request):
        sender = Sender(identity.agent_id, task_id, carried(task.request))
        check_signatures(sender.caller)
        if any(True for _ in signatures_in(sender.caller)):
            _address(task, sender)
    return sender


def parsed(task: RequestTask, kind: type[RequestT], **arguments: Any) -> RequestT:
    """The request, checked; a refusal that comes later names what it was about.

    Raises InvalidRequest, InvalidReference.
    """
    request = parse(kind, **arguments)
    task.request.about = request.about
    task.request.asked = asked(task, request)
    return request


def asked(task: RequestTask, request: Request) -> str:
    """What was asked, as `acts` keep it."""
    return f"{task.name}:{request.fingerprint()}"


def require_agent(session: Session, sender: Sender) -> Agent:
    """The sender's row. Raises AccessDenied for one that is unknown or disabled."""
    agent = session.get(Agent, sender.agent_id)
    if agent is None or agent.disabled_at is not None:
        state = "unknown to this fleet" if agent is None else "disabled"
        raise AccessDenied(f"Agent {sender.agent_id} is {state}: ask the fleet's operator.")
    return agent


def identify(token: Any, leeway_seconds: float) -> Identity:
    """By the token, which may have expired while the message waited in the queue.

    Raises NotSignedIn, InvalidToken; StorageUnavailable while Auth's keys cannot be had.
    """
    policy = RetryPolicy(attempts=10_000, deadline_seconds=KEYS_WAIT_SECONDS)
    return policy.run(lambda: fleet().verifier.verify(token, leeway_seconds=leeway_seconds))


def _address(task: RequestTask, sender: Sender) -> None:
    """Have what rides along go to the sender's inbox, and to nobody else's."""
    name = fleet().transact(lambda session: require_agent(session, sender).name)
    check_inboxes(sender.caller, name)
    queue = fleet().settings.agent_queue or inbox_of(name)
    for carried_by in (sender.caller, task.request.set_aside):  # of the row, and of the message
        send_to(queue, carried_by)


def _task_id(text: str) -> UUID:
    if not is_task_id(text):
        raise InvalidRequest("The task id must be a UUID as Celery makes them: lower case, dashes.")
    return UUID(text)
