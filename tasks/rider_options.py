"""The options of a task that is chained to a request: which it may have, and with what in them.

The fleet publishes it with its own rights, so none may lead where the sender itself may not, and
each must be one that Celery and the broker can write: afterwards the file has been carried.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from amqp.exceptions import FrameSyntaxError  # type: ignore[import-untyped]
from amqp.serialization import dumps  # type: ignore[import-untyped]
from celery.utils.time import maybe_iso8601
from kombu.utils.json import loads

from argosy.errors import InvalidRequest
from argosy.mailbox import MESSAGES

REQUESTS = "argosy.requests"  # also in tasks.messages, which imports this one's neighbours
CONTROL = "argosy.control"  # the same
FLEETS = ("argosy.", "celeryev", MESSAGES)
"""How queues begin that are no agent's to have its own tasks in."""
OPTIONS = frozenset(
    {
        "queue",
        "exchange",
        "routing_key",
        "declare",
        "headers",
        "task_id",
        "root_id",
        "parent_id",
        "group_id",
        "group_index",
        "chord",
        "chain",
        "link",
        "link_error",
        "reply_to",
        "priority",
        "shadow",
        "ignore_result",
        "immutable",
        "replaced_task_nesting",
        "stamped_headers",
        "stamps",
        "retries",
        "expires",
    }
)
"""Options that Celery itself gives a chained task, and those that say where it goes."""
TEXTS = ("queue", "exchange", "routing_key", "task_id", "reply_to")
LONGEST_TEXT = 255
"""Bytes: what AMQP takes of each of them."""
HIGHEST_PRIORITY = 255
TABLED = (
    *("headers", "root_id", "parent_id", "group_id", "group_index", "shadow", "retries"),
    "replaced_task_nesting",
)
"""Options that Celery has the broker keep as headers."""
LONGEST_WAIT = 1e9
"""Seconds until a task expires: more is no date."""

RESERVED_HEADERS = frozenset(
    {
        *("cc", "bcc"),
        *("lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries"),
        *("timelimit", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin"),
        *("ignore_result", "replaced_task_nesting", "stamped_headers", "stamps"),
        *("chain", "chord", "callbacks", "errbacks", "compression", "serializer"),
    }
)
"""Message headers that a chained task may not have of its own, in lower case."""


def check_options(options: dict[str, Any]) -> None:
    """Raise InvalidRequest where the fleet would publish what the sender itself may not."""
    if unknown := options.keys() - OPTIONS:
        raise InvalidRequest(f"A chained task has an option {min(unknown)[:80]!r}: leave it out.")
    if not _can_be_written(options):
        raise InvalidRequest(
            f"A chained task has a priority of 0 to {HIGHEST_PRIORITY}, a queue and an id that are "
            f"texts of at most {LONGEST_TEXT} bytes, headers that AMQP can carry, "
            "an end that is a time, and no stamps."
        )
    queue = options.get("queue") or ""
    fits = (
        (queue in (REQUESTS, CONTROL) or not queue.startswith(FLEETS))
        and "pidbox" not in queue
        and options.get("exchange") in (None, "", REQUESTS)
        and not options.get("declare")
        and isinstance(options.get("headers", {}), dict)
    )
    if not fits:
        raise InvalidRequest("A chained task goes to a queue of the agent's own, by its name.")
    _check_headers(options.get("headers", {}))


def _can_be_written(options: dict[str, Any]) -> bool:
    """Whether Celery and the broker's protocol have room for it: else publishing it would fail."""
    texts, priority = (options.get(name) for name in TEXTS), options.get("priority")
    if priority is not None and not isinstance(priority, int):
        return False
    if options.get("stamped_headers") or options.get("stamps"):
        return False  # each stamp would be an option more
    short = all(text is None or _is_short(text) for text in texts)
    ranked = 0 <= (priority or 0) <= HIGHEST_PRIORITY
    return short and ranked and _is_table(options) and _is_moment(options.get("expires"))


def _is_table(options: dict[str, Any]) -> bool:
    """Whether AMQP can carry them as headers."""
    try:
        dumps("F", ({name: _meant(options.get(name)) for name in TABLED},))
    except (FrameSyntaxError, struct.error, ValueError):
        return False
    return True


def _is_moment(expires: Any) -> bool:
    if isinstance(expires, int | float):
        return -LONGEST_WAIT < expires < LONGEST_WAIT
    try:
        maybe_iso8601(_meant(expires))
    except (ValueError, TypeError):
        return False
    return True


def _meant(value: Any) -> Any:
    """What kombu makes of JSON when it is published: a UUID or a time may be written in it.

    Raises ValueError where it is written wrong.
    """
    try:
        return loads(json.dumps(value))
    except (TypeError, AttributeError, ArithmeticError) as error:  # as their makers raise
        raise ValueError(f"{error}") from error


def _is_short(text: Any) -> bool:
    return isinstance(text, str) and len(text.encode()) <= LONGEST_TEXT


def _check_headers(headers: dict[str, Any]) -> None:
    """Raise InvalidRequest for a header by which the broker or Celery would do something else.

    RabbitMQ sends copies to the routing keys in CC and BCC; Celery takes a task's name, id
    and what follows it from headers, and puts these over its own.
    """
    for name in headers:
        if str(name).lower() in RESERVED_HEADERS:
            raise InvalidRequest(f"A chained task has a header {str(name)[:80]!r}: leave it out.")
