"""An agent's own tasks, for tests: `celery -A tests.agent_tasks worker` consumes them.

It knows nothing of the fleet but where the broker is.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

QUEUE = "agents-own"
"""The agent's queue; it also takes Celery's default one, for tasks that name none."""

app = Celery(
    "agents-own",
    broker=os.environ.get("BROKER_URL"),
    backend=os.environ.get("RESULT_URL"),
    set_as_current=False,
)
app.conf.update(worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)


@app.task(name="agents.size_of")
def size_of(reference: dict[str, Any]) -> int:
    """What the next task of a chain gets: a plain document."""
    return int(reference["size"])


@app.task(name="agents.sizes_of")
def sizes_of(references: list[dict[str, Any]]) -> list[int]:
    """The body of a chord."""
    return sorted(int(reference["size"]) for reference in references)


@app.task(name="agents.note")
def note(*arguments: Any) -> list[Any]:
    """Return what it was called with."""
    return list(arguments)
