"""The two kinds of task: requests, which agents send, and the fleet's own."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from celery import Task, current_task
from celery.app.task import Context
from celery.exceptions import Ignore, Reject, TaskPredicate
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from argosy.auth import TOKEN_HEADER, current_token
from argosy.errors import Error, InternalError, InvalidRequest
from argosy.redaction import holds_secret
from argosy.trace_context import TRACE_HEADER, current_trace
from models import Outcome
from models.continuations import settle
from models.database import is_lost
from models.transitions import record
from tasks.envelope import address, put_on, signatures_in, take_off
from tasks.fleet import fleet
from tasks.messages import CONTROL, REQUESTS
from tasks.refusal import refuse
from tasks.seal import SEAL_HEADER, is_sealed

log = structlog.get_logger(__name__)


class FleetTask(Task):
    """A task of the fleet's own. Runs only sealed messages: agents must not cause one.

    Hands its message back while the database is away. What it raises is an Error
    without the cause, which may hold anything: that is for the log alone.
    """

    abstract = True
    acks_late = True
    ignore_result = True
    throws = (Error,)
    Request = "tasks.request:FleetRequest"  # only a worker needs what it imports

    def is_ours(self, headers: Mapping[str, Any], args: Sequence[Any]) -> bool:
        """Whether the fleet itself has sent a message of this task with these headers."""
        try:
            return is_sealed(fleet().settings, headers.get(SEAL_HEADER), self.name, args)
        except TypeError:  # no plain JSON: the fleet sends nothing else
            return False

    def admit(self, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        """Raise Ignore unless the fleet itself has sent this message."""
        if not self.is_ours(vars(self.request), args):
            log.warning("message.refused", reason="not_sealed")
            fleet().transact(self._record_refusal)
            raise Ignore("the fleet has not sent this message")
        put_on(self.request)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Run, with the task's ids bound to every log line.

        `self` by position only: else an argument of that name would fail before
        anybody has looked at who sent it, and what rides along would be published.
        """
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(task=self.name, task_id=self.request.id)
        for known_later in ("acting_for", "sent_by", "about", "asked"):
            setattr(self.request, known_later, None)  # headers of that name are nobody's word
        take_off(self.request)
        try:
            return self._attempt(args, kwargs)
        except DBAPIError as error:
            log.warning("task.handed_back", error=type(error.orig).__name__)
            raise Reject(type(error).__name__, requeue=True) from None

    def _attempt(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Raises Error, what Celery itself understands, and DBAPIError for a lost database."""
        try:
            self.admit(args, kwargs)
            return super().__call__(*args, **kwargs)
        except TaskPredicate:
            raise
        except Error as error:
            raise error from None
        except Exception as error:
            if isinstance(error, DBAPIError) and is_lost(error):
                raise
            raise self.surprised_by(error) from None

    def _record_refusal(self, session: Session) -> None:
        record(
            session,
            "message.refused",
            worker=self.worker,
            outcome=Outcome.REFUSED,
            reason="not_sealed",
            request_id=ascii(self.request.id)[1:-1][:80],
            detail={"task": self.name},
        )

    def surprised_by(self, error: Exception) -> InternalError:
        """What the caller is told of something that should not have happened."""
        log.exception("task.surprise")
        return InternalError(f"The fleet met a {type(error).__name__}: its log has the details.")

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
            fleet().ask(lambda session: settle(session, UUID(task_id)))


class RequestTask(OwedTask):
    """A task that agents send. Its message carries the sender's access token in a header."""

    abstract = True
    exchange = routing_key = REQUESTS
    Request = "tasks.request:UnknownSendersRequest"

    def admit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Anybody may ask; `known` looks at who it is, and puts on what rides along.

        Raises InvalidRequest for what nobody can ask: a sender may know only the
        task's name.
        """
        try:
            self._check(args, kwargs)
        except InvalidRequest as wrong:
            refuse(self, wrong)
            raise

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        _drop_tokens(self.request.set_aside)  # there they belong
        if holds_secret([args, kwargs, self.request.set_aside]):
            raise InvalidRequest(
                "There is a token or a signature in the arguments, or in what is chained to them: "
                f"the access token goes into the message header {TOKEN_HEADER!r}, and it only."
            )
        try:
            inspect.signature(self.run).bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidRequest(f"{self.name}: {error}.") from None
        _check_times(self.request)
        sent_by = (self.request.delivery_info or {}).get("routing_key")
        if sent_by == CONTROL != self.routing_key:
            raise InvalidRequest(f"{self.name} is a request for bytes: send it to {REQUESTS}.")

    def surprised_by(self, error: Exception) -> InternalError:
        """The same; before anybody was known to ask, it is a refusal like any other."""
        wrong = super().surprised_by(error)
        if not self.request.acting_for:
            take_off(self.request)
            refuse(self, wrong)
        return wrong

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
        if TRACE_HEADER not in headers and (trace := current_trace()):
            headers[TRACE_HEADER] = trace
        options.setdefault("declare", [])  # the exchange is the fleet's to declare
        return super().apply_async(args, kwargs, headers=headers, **options)


def _drop_tokens(rides: dict[str, Any]) -> None:
    """Take tokens out of the headers of what is chained: the fleet puts in fresh ones."""
    for signature in signatures_in(rides):
        options = signature.get("options")
        headers = options.get("headers") if isinstance(options, dict) else None
        if isinstance(headers, dict):
            headers.pop(TOKEN_HEADER, None)


def _check_times(request: Context) -> None:
    """Raise InvalidRequest for one that should wait, or that has waited too long."""
    if request.eta:
        raise InvalidRequest(
            "The fleet keeps no request for later: send it when it is due, "
            "without eta or countdown."
        )
    if request.expires and _moment(request.expires) < datetime.now(UTC):
        raise InvalidRequest(f"The request expired at {request.expires}: send it again.")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest("expires is no date and time as in ISO 8601.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _token_to_send() -> str | None:
    agent_id: UUID | None = current_task.request.get("acting_for") if current_task else None
    return fleet().mint.token_for(agent_id) if agent_id else current_token()
