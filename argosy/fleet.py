"""Requests to the fleet, and its answers, through the broker and the result store.

The fleet's tasks are called by their names: an agent has none of the fleet's code.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import amqp  # type: ignore[import-untyped]
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from argosy.auth import TOKEN_HEADER
from argosy.broker import is_full, not_let_in
from argosy.deadline import Deadline
from argosy.direct.crew import Crew
from argosy.errors import BY_CODE, Error, FleetUnavailable, InternalError
from argosy.settings import AgentSettings
from argosy.storage.retry import RetryPolicy
from argosy.trace_context import TRACE_HEADER, current_trace

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)

REQUESTS = "argosy.requests"
CONTROL = "argosy.control"
"""Routing keys of the exchange `argosy.requests`: what moves bytes, and what is done at once."""

_AT_ONCE = frozenset(
    {
        *("cancel", "pause", "unpause", "retry", "status", "history", "usage"),
        *("register", "pin", "unpin", "provenance", "extend"),
    }
)
ANSWER_SECONDS = 120.0
"""How long an answer that is given at once may take, where the call has no end of its own."""
CONFIRM_SECONDS = 30.0
"""How long the broker may take to say that it has a request."""
LOOK_SECONDS = 5
"""How long the result store may take to say what it has: so much later a call may end."""
_FIRST_LOOK, _LAST_LOOK = 0.005, 0.25
"""Seconds between two looks for an answer: at first, and after a while."""


class Fleet:
    """The fleet as one agent reaches it. Any number of threads may use it; it survives a fork."""

    def __init__(self, settings: AgentSettings, token: Callable[[], str]) -> None:
        self._settings = settings
        self._token = token
        self._made: dict[int, _Apps] = {}

    def ask(
        self,
        verb: str,
        /,
        *arguments: Any,
        task_id: str | None = None,
        deadline: Deadline | None = None,
        **options: Any,
    ) -> Any:
        """Have `transfer.<verb>` done, and return its result.

        A `task_id` of the caller's is one that may have been asked before: what was answered
        then is forgotten. Raises the error that the fleet answers with, FleetUnavailable when
        it does not answer, DeadlineExceeded, and what `send` raises.
        """
        deadline = deadline or Deadline(ANSWER_SECONDS)
        deadline.check()
        if task_id:
            self._try(lambda: self._apps.results.backend.forget(task_id), task_id, deadline)
        sent = self.send(verb, *arguments, task_id=task_id, deadline=deadline, **options)
        return self.wait(sent, deadline)

    def send(
        self,
        verb: str,
        /,
        *arguments: Any,
        task_id: str | None = None,
        deadline: Deadline | None = None,
        **options: Any,
    ) -> str:
        """Send the request, confirmed by the broker, and return its id.

        Raises FleetUnavailable when the broker cannot be reached, NotSignedIn, AccessDenied,
        and what the deadline raises: where the broker is silent, the request may be done then.
        """
        send = partial(self._send, verb, arguments, options, task_id or str(uuid4()))
        if deadline is None:
            return send(lambda: None)
        with Crew(deadline) as crew:  # nothing else ends a wait for a silent broker
            return crew.result(partial(copy_context().run, send, crew.check))

    def _send(
        self,
        verb: str,
        arguments: tuple[Any, ...],
        options: dict[str, Any],
        task_id: str,
        check: Callable[[], None],
    ) -> str:
        headers = {TOKEN_HEADER: self._token()}
        check()  # to sign in may have taken longer than the call
        if trace := current_trace():
            headers[TRACE_HEADER] = trace
        key = CONTROL if verb in _AT_ONCE else REQUESTS
        try:
            self._apps.sender.send_task(
                f"transfer.{verb}",
                arguments,
                options,
                task_id=task_id,
                exchange=REQUESTS,
                routing_key=key,
                declare=[],  # the fleet has declared what is needed
                headers=headers,
                confirm_timeout=CONFIRM_SECONDS,
            )
        except (OperationalError, OSError) as error:
            raise FleetUnavailable(
                f"The broker cannot be reached ({type(error).__name__}): check BROKER_URL, or try "
                "again later."
            ) from error
        except (amqp.AccessRefused, amqp.NotAllowed) as error:
            if is_full(error):
                raise FleetUnavailable(f"The broker is full: {error.reply_text}.") from error
            raise not_let_in(self._settings.broker_url, error) from error
        except amqp.NotFound as error:  # a new broker, or one that has lost what it had
            raise FleetUnavailable(
                "The broker has no queue of the fleet's: a worker declares them when it connects, "
                "try again later."
            ) from error
        log.info("request.sent", extra={"verb": verb, "task_id": task_id})
        return task_id

    def wait(
        self,
        task_id: str,
        deadline: Deadline,
        on_progress: Callable[[int, int | None], None] | None = None,
    ) -> Any:
        """The result of a request, once it is there; `on_progress` hears bytes done and in all.

        Raises the error that the fleet answered with, and what the deadline raises.
        """
        pause = _FIRST_LOOK
        while True:
            found = self._look(task_id, deadline)
            if found["status"] == "SUCCESS":
                return found["result"]
            if found["status"] in ("FAILURE", "REVOKED"):
                raise _error_of(found["result"])
            if found["status"] == "PROGRESS" and on_progress:
                on_progress(found["result"]["bytes_done"], found["result"]["bytes_total"])
            deadline.wait(pause * random.uniform(0.8, 1.2))  # noqa: S311  spreads load
            pause = min(_LAST_LOOK, pause * 1.5)

    def check(self, task_id: str, deadline: Deadline) -> None:
        """Raise the error that a request has failed with; return where it has not."""
        found = self._look(task_id, deadline)
        if found["status"] in ("FAILURE", "REVOKED"):
            raise _error_of(found["result"])

    def close(self) -> None:
        """Give back this process's connections; the next request makes new ones."""
        if apps := self._made.pop(os.getpid(), None):
            apps.sender.close()
            apps.results.close()

    def _look(self, task_id: str, deadline: Deadline) -> dict[str, Any]:
        """What the result store has under the id, as Celery keeps it."""
        found: dict[str, Any] = self._try(
            lambda: self._apps.results.backend.get_task_meta(task_id, cache=False),
            task_id,
            deadline,
        )
        return found

    def _try(self, call: Callable[[], Any], task_id: str, deadline: Deadline) -> Any:
        """What the result store answers; again, while it is away."""

        def once() -> Any:
            try:
                return call()
            except (RedisError, OSError) as error:
                raise FleetUnavailable(
                    f"The result store cannot be reached ({type(error).__name__}): check "
                    "RESULT_URL, or try again later. The fleet goes on meanwhile.",
                    task_id,
                ) from error

        return deadline.limit(self._retries).run(once)

    @cached_property
    def _retries(self) -> RetryPolicy:
        return RetryPolicy(attempts=1000, deadline_seconds=self._settings.storage_deadline_seconds)

    @property
    def _apps(self) -> _Apps:
        """Those of this process: a fork must not share the sockets."""
        pid = os.getpid()
        if pid not in self._made:
            with _making.setdefault(pid, threading.Lock()):
                self._made = {pid: self._made.get(pid) or _make_apps(self._settings)}
        return self._made[pid]


_making: dict[int, threading.Lock] = {}
"""One at a time in each process: Celery cannot be imported by two threads at once."""


class _Apps(NamedTuple):
    """Celery, to send with and to look for results with.

    The one that sends has no result store: with one, Celery would listen there for each request.
    """

    sender: Celery
    results: Celery


def _make_apps(settings: AgentSettings) -> _Apps:
    from celery import Celery

    sender = Celery("argosy-agent", broker=settings.broker_url, set_as_current=False)
    sender.conf.update(
        broker_transport_options={"confirm_publish": True},
        task_publish_retry_policy={"max_retries": 5, "interval_max": 1.0},
        broker_connection_timeout=5,
    )
    results = Celery("argosy-agent", backend=settings.result_url, set_as_current=False)
    results.conf.update(
        accept_content=["json"],
        result_accept_content=["json"],
        redis_socket_timeout=LOOK_SECONDS,
        redis_socket_connect_timeout=LOOK_SECONDS,
    )
    return _Apps(sender, results)


def _error_of(result: Any) -> Error:
    """The error that Celery has rebuilt from the answer."""
    if isinstance(result, Error):
        return BY_CODE.get(result.code, type(result))(
            result.message, result.transfer_id, result.retry_after
        )
    return InternalError(f"The fleet ended the request with {type(result).__name__}: {result}")
