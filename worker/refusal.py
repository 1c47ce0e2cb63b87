"""Celery's built-in tasks are not taken from the broker.

`celery.group`, `celery.map` and their like send or run whatever task their
arguments name: an agent could have the fleet send its own internal tasks.
"""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, Task

log = logging.getLogger(__name__)


def refuse(task: Task, _app: Celery, consumer: Any, **_: Any) -> Any:
    """Celery's strategy for messages of a built-in task: to the dead letters with them."""

    def handle(message: Any, *_: Any, **__: Any) -> None:
        log.warning("message.refused", extra={"task": task.name})
        message.reject_log_error(log, consumer.connection_errors)

    return handle


def refuse_builtins(app: Celery) -> None:
    """Have a worker of this application refuse messages of built-in tasks."""
    app.finalize()
    for name, task in app.tasks.items():
        if name.startswith("celery."):
            task.Strategy = f"{__name__}:{refuse.__name__}"
