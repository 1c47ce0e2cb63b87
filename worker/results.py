"""Where the fleet records results, so that no caller is told of trouble that is ours.

Celery takes a result that it cannot record, or whose chained tasks it cannot publish, for a task
that has failed, and records that once it can: the caller of a completed transfer would be told of
a lost connection.
"""

from __future__ import annotations

from typing import Any

import structlog
from amqp.exceptions import MessageNacked  # type: ignore[import-untyped]
from celery.backends.redis import RedisBackend
from celery.exceptions import BackendStoreError, Reject
from celery.states import FAILURE
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)


class FleetResults(RedisBackend):
    """Results in Valkey. One that cannot be recorded is left to the message, which comes again.

    So is one that says of the task only that the broker or Valkey was away: what the task has
    done is in the rows, so that the next one only tells.
    """

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        """Whether it is worth another try: also what a full or a new Valkey answers."""
        return isinstance(exc, RedisError) or bool(super().exception_safe_to_retry(exc))

    def store_result(self, task_id: str, result: Any, state: str, *rest: Any, **named: Any) -> Any:
        """Record a result; Celery itself tries again for some seconds.

        Raises Reject, by which the broker keeps the message.
        """
        if state == FAILURE and _is_ours(result):
            raise _left(task_id, result)
        try:
            return super().store_result(task_id, result, state, *rest, **named)
        except (BackendStoreError, RedisError, *self.connection_errors) as error:
            raise _left(task_id, error) from None

    def on_chord_part_return(self, request: Any, state: str, result: Any, **named: Any) -> None:
        """Count a member of a chord, once. Raises Reject: else it would count as failed."""
        try:
            super().on_chord_part_return(request, state, result, **named)
        except (RedisError, *self.connection_errors) as error:
            raise _left(request.id, error) from None


def _is_ours(failure: Any) -> bool:
    """Whether a task's failure is but the way to Valkey or the broker.

    A queue that takes nothing is its owner's affair, who is told.
    """
    if isinstance(failure, OperationalError):
        return not isinstance(failure.__cause__, MessageNacked)
    return isinstance(failure, RedisError)


def _left(task_id: str, error: Exception) -> Reject:
    log.warning("result.not_recorded", task_id=task_id, error=type(error).__name__)
    return Reject("result_not_recorded", requeue=True)


def fleet_results(url: str) -> str:
    """The URL of a result store, as Celery wants it for this class."""
    return f"{FleetResults.__module__}:{FleetResults.__name__}+{url}"
