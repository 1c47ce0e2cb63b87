"""What the fleet says over the broker. Every message is a hint; the rows are the truth.

A message that cannot be sent is only logged: its row says that it is due, and
`transfer.resume` sends it later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from celery import current_app, current_task
from celery.app.task import Context
from kombu.utils import json as kombu_json

from argosy.errors import InvalidRequest
from argosy.reference import is_storable
from models import DIGEST, Continuation, Lane, Priority
from tasks.fleet import fleet
from tasks.seal import SEAL_HEADER, seal
from tasks.spools import at_spool, spool_of

REQUESTS = "argosy.requests"
"""Exchange and queue that agents write to."""
ASIDE = tuple(f"{REQUESTS}.aside.{number}" for number in range(4))
"""Queues of requests of agents that ask for very much at once: others' do not wait behind them."""
CONTROL = "argosy.control"
"""Queue that agents write to through the same exchange: it does not wait behind files."""
INTERNAL = "argosy.internal"
"""Exchange that only the fleet writes to."""
CHUNKS = {
    Priority.URGENT: "argosy.chunks.urgent",
    Priority.NORMAL: "argosy.chunks",
    Priority.BULK: "argosy.chunks.bulk",
}
"""Queues of the work on files, one for each class: a worker takes from each in turn."""
FINISH = "argosy.finish"
"""Queue of the last work on a file: it does not wait behind parts."""
MEDIA = "argosy.media"
"""Queue of what is made of stored files: pictures do not keep transfers from ending."""
DEAD = "argosy.dead"
"""Exchange and queue of what the broker gave up."""

log = structlog.get_logger(__name__)


def carried(request: Context) -> dict[str, Any]:
    """What a later task needs to stand in for this one, as Task.replace would carry it.

    Raises InvalidRequest when it cannot be kept.
    """
    facts = {
        "root_id": request.root_id,
        "parent_id": request.parent_id,
        "group_id": request.group,
        "group_index": request.group_index,
        "chord": request.chord,
        "chain": request.chain,
        "link": request.callbacks,
        "link_error": request.errbacks,
        "reply_to": request.reply_to,
        "replaced_task_nesting": (request.get("replaced_task_nesting") or 0) + 1,
        "shadow": request.shadow or request.task,
    }
    present = {name: value for name, value in facts.items() if value is not None}
    text = kombu_json.dumps(present)
    if not is_storable(text):
        raise InvalidRequest("A chained task or callback holds text that cannot be kept.")
    document: dict[str, Any] = json.loads(text)
    return document


def own_task_id() -> UUID | None:
    """The id of the running task: its own result needs no message."""
    return UUID(current_task.request.id) if current_task else None


def send_plan(caller: Continuation, lane: Lane) -> None:
    """Have a transfer planned that has its turn, under the task id of its first caller."""
    _send(
        "transfer.plan",
        str(caller.transfer_id),
        task_id=str(caller.task_id),
        **_chunk_queue(lane),
        **caller.request,
    )


def send_chunks(transfer_id: UUID, lane: Lane, numbers: Iterable[int]) -> None:
    """Have chunks moved."""
    queue = _chunk_queue(lane)
    for number in numbers:
        if number == DIGEST:
            _send("transfer.digest", str(transfer_id), **queue)
        else:
            _send("transfer.chunk", str(transfer_id), number, **queue)


def send_cleanup(transfer_id: UUID, spool: str | None = None) -> None:
    """Have what a failed transfer left removed, by a worker that has the spool if that is said."""
    queue = to_queue(at_spool(FINISH, spool)) if spool else {}
    _send("transfer.cleanup", str(transfer_id), **queue)


def send_sweep(after: tuple[datetime, UUID]) -> None:
    """Have a sweep go on behind the file that another one has come to."""
    ended_at, last = after
    _send("transfer.sweep", ended_at.isoformat(), str(last))


def send_forget(after: Sequence[str]) -> None:
    """Have a round of forgetting go on behind what another one has come to."""
    _send("transfer.forget", *after)


def send_continuation(continuation: Continuation | None, spool: str | None = None) -> None:
    """Have a caller's transfer assembled, or its outcome recorded under the caller's task id.

    By a worker that has the spool if that is said: the last one moves it to its place there.
    """
    if continuation:
        queue = MEDIA if continuation.steps else at_spool(FINISH, spool)
        _send(
            "transfer.reassemble",
            str(continuation.transfer_id),
            task_id=str(continuation.task_id),
            **to_queue(queue),
            **continuation.request,
        )


def send_resume() -> None:
    """Have whatever is due sent again now, not at beat's next tick."""
    _send("transfer.resume")


def _chunk_queue(lane: Lane) -> dict[str, str]:
    queue = CHUNKS[Priority(lane.priority)]
    return to_queue(at_spool(queue, spool_of(fleet().settings, lane.path)))


def to_queue(name: str) -> dict[str, str]:
    """A route by the exchange: Celery would use the nameless one, which agents can write to."""
    return {"queue": name, "exchange": INTERNAL, "routing_key": name}


def _send(name: str, *arguments: object, **options: Any) -> None:
    headers = {SEAL_HEADER: seal(fleet().settings, name, arguments)}
    try:
        current_app.send_task(name, arguments, add_to_parent=False, headers=headers, **options)
    except Exception as error:  # whatever it is, the row stands, and the message is only a hint
        log.warning("message.not_sent", task=name, error=type(error).__name__)
