"""Where the fleet records results, so that no caller is told of trouble that is ours.

Celery takes a result that it cannot record for a task that has failed, and records that once it
can: the caller of a completed transfer would be told of a lost connection.
"""

from __future__ import annotations

from typing import Any

import structlog
from celery.backends.redis import RedisBackend
from celery.exceptions import BackendStoreError, Reject

log = structlog.get_logger(__name__)


class FleetResults(RedisBackend):
    """Results in Valkey. One that cannot be recorded is left to the message, which comes again."""

    def store_result(self, task_id: str, result: Any, state: str, *rest: Any, **named: Any) -> Any:
        """Record a result; Celery itself tries again for some seconds.

        Raises Reject, by which the broker keeps the message: what its task has done is in the
        rows, so that the next one only tells.
        """
        try:
            return super().store_result(task_id, result, state, *rest, **named)
        except (BackendStoreError, *self.connection_errors) as error:
            log.warning("result.not_recorded", task_id=task_id, error=type(error).__name__)
            raise Reject("result_not_recorded", requeue=True) from None


def fleet_results(url: str) -> str:
    """The URL of a result store, as Celery wants it for this class."""
    return f"{FleetResults.__module__}:{FleetResults.__name__}+{url}"
