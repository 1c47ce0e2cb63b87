"""The two kinds of task: requests, which agents send, and the fleet's own."""

from __future__ import annotations

import inspect
import os
from typing import Any
from uuid import UUID

import structlog
from celery import Task, current_task
from celery.exceptions import Ignore, Reject
from sqlalchemy.exc import DBAPIError

from argosy.auth import TOKEN_HEADER, current_token
from argosy.errors import InternalError, InvalidRequest
from models.continuations import settle
from models.database import is_lost
from tasks.envelope import address, take_off
from tasks.fleet import fleet
from tasks.messages import REQUESTS
from tasks.refusal import refuse
from tasks.seal import SEAL_HEADER, is_sealed

log = structlog.get_logger(__name__)


class FleetTask(Task):
    """A task of the fleet's own. Runs only sealed messages: agents must not cause one.

    Hands its message back while the database is away.
    """

    abstract = True
    acks_late = True
    ignore_result = True

    def admit(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        """Raise Ignore unless the fleet itself has sent this message."""
        if not is_sealed(fleet().settings, self.request.get(SEAL_HEADER), self.name, args):
            log.warning("message.refused")
            raise Ignore("the fleet has not sent this message")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run, with the task's ids bound to every log line."""
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(task=self.name, task_id=self.request.id)
        self.request.acting_for = None  # a header of that name is nobody's word
        try:
            self.admit(args, kwargs)
            return super().__call__(*args, **kwargs)
        except DBAPIError as error:
            if not is_lost(error):
                log.exception("database.surprise")
                raise InternalError(f"The database refused: {type(error.orig).__name__}.") from None
            log.warning("task.handed_back", error=type(error.orig).__name__)
            raise Reject(type(error).__name__, requeue=True) from None

    @property
    def redelivered(self) -> bool:
        """Whether the broker took this message back from a worker that went away."""
        return bool((self.request.delivery_info or {}).get("redelivered"))

    @property
    def worker(self) -> str:
        """This worker process, as it stands in the ledger."""
        return f"{self.request.hostname}/{os.getpid()}"


class OwedTask(FleetTask):
    """A task whose result somebody waits for; once it is recorded, nothing more is owed."""

    abstract = True
    ignore_result = False

    def after_return(
        self, _status: str, _value: Any, task_id: str, _args: Any, _kwargs: Any, _info: Any
    ) -> None:
        """Celery has recorded the result: note that in the row."""
        if self.request.get("acting_for"):
            fleet().transact(lambda session: settle(session, UUID(task_id)))


class RequestTask(OwedTask):
    """A task that agents send. Its message carries the sender's access token in a header."""

    abstract = True
    exchange = routing_key = REQUESTS

    def admit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Anybody may ask; `accept` looks at who it is, and puts on what rides along.

        Raises InvalidRequest when the arguments are not the task's: a sender may
        know only its name.
        """
        take_off(self.request)
        try:
            inspect.signature(self.run).bind(*args, **kwargs)
        except TypeError as error:
            wrong = InvalidRequest(f"{self.name}: {error}.")
            refuse(self, wrong)
            raise wrong from None

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        headers: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Send the request as whoever this process signed in as.

        Inside the fleet (a chain goes on) it is sent as the agent of the running task.
        """
        address(self.app, options.get("chain"), options.get("link"), options.get("link_error"))
        headers = dict(headers or {})
        if TOKEN_HEADER not in headers and (token := _token_to_send()):
            headers[TOKEN_HEADER] = token
        options.setdefault("declare", [])  # the exchange is the fleet's to declare
        return super().apply_async(args, kwargs, headers=headers, **options)


def _token_to_send() -> str | None:
    agent_id: UUID | None = current_task.request.get("acting_for") if current_task else None
    return fleet().mint.token_for(agent_id) if agent_id else current_token()
