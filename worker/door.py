"""The door: what a message must be like before Celery looks at it.

Celery trusts whoever may write to its queues: a header of another type than it
expects ends the worker's main process, and the broker gives the message to the
next worker. So each message is read here first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Task
from kombu import Message, compression
from kombu.exceptions import ContentDisallowed, DecodeError

from tasks.base import FleetTask, RequestTask
from tasks.protocol import (
    MOST_BYTES,
    MOST_BYTES_OF_OUR_OWN,
    Unfit,
    checked_body,
    known_headers,
    malformed,
)


def check(message: Message, tasks: Mapping[str, Task]) -> None:
    """Raise Unfit unless this is a well-formed message of a task that its sender may send.

    Leaves only those headers that the fleet knows, each of its type.
    """
    if message.content_type != "application/json":
        raise malformed("its content type is not application/json")
    _check_size(message, MOST_BYTES_OF_OUR_OWN)
    message.headers = known_headers(message.headers)
    arguments, _, _ = checked_body(_decoded(message))
    task = tasks.get(message.headers["task"])
    if not isinstance(task, FleetTask):  # Celery's own tasks run whatever their arguments name
        raise Unfit("unknown_task", "the fleet has no such task")
    if isinstance(task, RequestTask):
        _check_size(message, MOST_BYTES)
    elif not task.is_ours(message.headers, arguments):
        raise Unfit("not_sealed", "the fleet has not sent it")


def refuse_compression() -> None:
    """Decompress nothing in this process: a few kilobytes could fill its memory."""
    for name in compression.encoders():
        encode, _ = compression.get_encoder(name)
        compression.register(encode, _not_decompressed, name)


def _not_decompressed(_body: bytes) -> bytes:
    raise malformed("it is compressed")


def _check_size(message: Message, most: int) -> None:
    if len(message.body) > most:
        raise malformed(f"it has more than {most} bytes")


def _decoded(message: Message) -> Any:
    try:
        return message.decode()
    except (DecodeError, ContentDisallowed):
        raise malformed("its body is not JSON") from None
