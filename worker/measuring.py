"""Counts tasks where they run, and how long their messages waited."""

from __future__ import annotations

import time
from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun

from tasks import measures
from tasks.messages import CHUNKS, CONTROL, FINISH, MEDIA, REQUESTS

SENT_AT = "argosy_sent_at"
"""Header: when the fleet sent it, in seconds since 1970."""
_QUEUES = (REQUESTS, CONTROL, *CHUNKS.values(), FINISH, MEDIA, "argosy.upkeep")
_LONGEST = 7 * 86_400.0

_since: dict[str, float] = {}


def begin() -> None:
    """Count in this process, which has just begun."""
    measures.processes.set(1)
    task_prerun.connect(_task_begins)
    task_postrun.connect(_task_ends)


def date_messages() -> None:
    """Have what this process sends say when it was sent."""
    before_task_publish.connect(_date)


def _date(sender: str, headers: dict[str, Any], **_: Any) -> None:
    if sender.startswith("transfer."):
        headers[SENT_AT] = time.time()


def _task_begins(task_id: str, task: Any, **_: Any) -> None:
    _since[task_id] = time.monotonic()
    waited = _waited(task.request.get(SENT_AT))
    if waited is not None:
        measures.queue_seconds.labels(queue_of(task.request.delivery_info)).observe(waited)


def _waited(sent_at: object) -> float | None:
    """None where it does not say, or something that cannot be: anybody may write a header."""
    if not isinstance(sent_at, float):
        return None
    waited = max(0.0, time.time() - sent_at)
    return waited if waited < _LONGEST else None


def queue_of(delivery: dict[str, Any] | None) -> str:
    """The queue that a message came by, one of the fleet's or `other`.

    Without its spool; what was set aside is a request like the others.
    """
    key = str((delivery or {}).get("routing_key"))
    found = [
        name for name in _QUEUES if key == name or key.startswith((f"{name}@", f"{name}.aside."))
    ]
    return found[0] if found else "other"


def _task_ends(task_id: str, task: Any, state: str | None, **_: Any) -> None:
    since = _since.pop(task_id, None)
    measures.tasks.labels(task.name, (state or "none").lower()).inc()
    if since is not None:
        measures.task_seconds.labels(task.name).observe(time.monotonic() - since)
