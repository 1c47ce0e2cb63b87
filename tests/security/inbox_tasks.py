"""An agent's own tasks on its inbox: `celery -A tests.security.inbox_tasks worker` runs them.

It may do on the broker and in the result store what any agent may, and nothing else: hence no
exchange of its own, no remote control, no events.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import worker_init
from kombu import Queue

WORKER = ("worker", "--without-gossip", "--without-mingle", "--without-heartbeat")

inbox = Queue(f"inbox.{os.environ.get('ARGOSY_AGENT')}", no_declare=True)  # no exchange, that is
app = Celery(
    "inbox",
    broker=os.environ.get("BROKER_URL"),
    backend=os.environ.get("RESULT_URL"),
    set_as_current=False,
)
app.conf.update(
    task_queues=[inbox],
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@worker_init.connect
def declare_inbox(**_: Any) -> None:
    with app.connection_for_write() as connection:
        inbox(connection.default_channel).queue_declare()


@app.task(name="inbox.size_of")
def size_of(reference: dict[str, Any]) -> int:
    """What the next task of a chain gets: a plain document."""
    return int(reference["size"])


@app.task(name="inbox.sizes_of")
def sizes_of(references: list[dict[str, Any]]) -> list[int]:
    """The body of a chord."""
    return sorted(int(reference["size"]) for reference in references)
