"""What rides along with a request: the sender's own tasks to call afterwards.

The fleet publishes them on the sender's behalf, so they must not name one of
the fleet's internal tasks, and they must find the sender's own queue.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

from amqp.exceptions import FrameSyntaxError  # type: ignore[import-untyped]
from amqp.serialization import dumps  # type: ignore[import-untyped]
from celery import Celery
from celery.app.task import Context
from celery.utils.time import maybe_iso8601
from kombu.utils.json import loads

from argosy.auth import TOKEN_HEADER
from argosy.errors import AccessDenied, InvalidRequest
from argosy.mailbox import INBOX, MESSAGES, USER, inbox_of

FACE = frozenset(
    {
        "transfer.upload",
        "transfer.upload_many",
        "transfer.download",
        "transfer.share",
        "transfer.unshare",
        "transfer.delete",
        "transfer.copy",
        "transfer.persist",
        "transfer.cancel",
        "transfer.pause",
        "transfer.unpause",
        "transfer.retry",
        "transfer.status",
        "transfer.history",
        "transfer.register",
        "transfer.pin",
        "transfer.unpin",
        "transfer.extend",
        "transfer.inspect",
        "transfer.thumbnail",
        "transfer.compress",
        "transfer.process",
        "transfer.provenance",
        "transfer.usage",
    }
)
"""Tasks that agents may send; the other `transfer.` tasks are the fleet's own."""


REQUESTS = "argosy.requests"  # also in tasks.messages, which imports this one's neighbours
CONTROL = "argosy.control"  # the same
FLEETS = ("argosy.", "celeryev", MESSAGES)
"""How queues begin that are no agent's to have its own tasks in."""
CANVAS = {"group": ("tasks",), "chain": ("tasks",), "chord": ("header", "body")}
"""Signatures that hold others, and the arguments in which they do."""
FOLLOWING = ("chain", "chord", "link", "link_error")
"""Options that hold signatures, and fields of a request."""
KEYS = frozenset({"task", "args", "kwargs", "options", "subtask_type", "immutable", "chord_size"})
"""Of a signature. Of a chord Celery takes any other for an option."""
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

RIDING = ("chain", "callbacks", "errbacks", "chord", "group")
"""Fields of a request by which Celery publishes more, also when the task fails."""


def take_off(request: Context) -> None:
    """Set aside what rides along, until the sender is known to be one who may ask."""
    request.set_aside = {name: getattr(request, name, None) for name in RIDING}
    for name in RIDING:
        setattr(request, name, None)


def put_on(request: Context) -> None:
    """Let what rides along be published again, by Celery, when the task ends."""
    for name, value in request.set_aside.items():
        setattr(request, name, value)


def signatures_in(document: Any) -> Iterator[dict[str, Any]]:
    """Every Celery signature in what a request carries, at any depth."""
    if isinstance(document, dict):
        if isinstance(document.get("task"), str):
            yield document
        for value in document.values():
            yield from signatures_in(value)
    elif isinstance(document, list | tuple):
        for value in document:
            yield from signatures_in(value)


def check_signatures(carried: dict[str, Any]) -> None:
    """Check every chained task and callback, and take tokens out before they are kept.

    Raises InvalidRequest if one is a task of the fleet's own, or no signature at all.
    """
    for field in FOLLOWING:
        if not all(map(_is_sound, _each(carried.get(field)))):
            raise InvalidRequest(f"What is in {field} is no Celery signature.")
    for signature in signatures_in(carried):
        name = signature["task"]
        if name.startswith("transfer.") and name not in FACE:
            raise InvalidRequest(f"Task {name} is the fleet's own and cannot be chained.")
        if not signature.keys() & {"options", "subtask_type"} and not name.startswith("celery."):
            continue  # somebody's data: it only has a key of that name
        if not (_is_sound(signature) and all(map(_is_sound, _held_by(signature)))):
            raise InvalidRequest(f"What is chained as {name[:80]!r} is no Celery signature.")
        _check_options(signature["options"])
        signature["options"].get("headers", {}).pop(TOKEN_HEADER, None)


def _is_sound(signature: Any) -> bool:
    """Whether Celery can send it: else a transfer that is done would end in an error of Celery's.

    Of Celery's own tasks only those that stand for a group, a chord or a chain: the
    others would run in the fleet's process whatever their arguments name. What it holds is
    looked at by itself.
    """
    parts = (("task", str), ("args", list), ("kwargs", dict), ("options", dict))
    if not isinstance(signature, dict) or not signature.keys() <= KEYS:
        return False
    if not all(isinstance(signature.get(name), kind) for name, kind in parts):
        return False
    name, kind = signature["task"], signature.get("subtask_type")
    if name.startswith("celery."):
        return isinstance(kind, str) and kind in CANVAS and name == f"celery.{kind}"
    return kind is None


def _held_by(signature: dict[str, Any]) -> Iterator[Any]:
    """All that Celery makes signatures of, whatever it is: it sends what has a kind and no name."""
    inner = CANVAS.get(str(signature.get("subtask_type")), ())
    named = [(signature["options"], name) for name in FOLLOWING]
    for where, name in [*named, *((signature["kwargs"], name) for name in inner)]:
        yield from _each(where.get(name))


def _each(held: Any) -> Iterator[Any]:
    """Celery takes one signature for a list with one in it."""
    if isinstance(held, list | tuple):
        yield from held
    elif held is not None:
        yield held


def _check_options(options: dict[str, Any]) -> None:
    """Raise InvalidRequest where the fleet would publish what the sender itself may not."""
    if unknown := options.keys() - OPTIONS:
        raise InvalidRequest(f"A chained task has an option {min(unknown)[:80]!r}: leave it out.")
    if not _can_be_written(options):
        raise InvalidRequest(
            f"A chained task has a priority of 0 to {HIGHEST_PRIORITY}, a queue and an id that are "
            f"texts of at most {LONGEST_TEXT} bytes, headers that AMQP can carry, and no stamps."
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


def check_inboxes(carried: Any, sender: str) -> None:
    """Raise AccessDenied where a chained task goes to the inbox of another agent than `sender`."""
    for signature in signatures_in(carried):
        options = signature.get("options")
        queue = options.get("queue") if isinstance(options, dict) else None
        if isinstance(queue, str) and queue.startswith(INBOX) and queue != inbox_of(sender):
            raise AccessDenied(
                f"A chained task of agent {sender} goes to {queue[:80]}, which is not its inbox: "
                f"name {inbox_of(sender)}, or no queue."
            )


def send_to(queue: str, carried: Any) -> None:
    """Name the queue of every chained task of the sender's own that names none."""
    for signature in _unaddressed(carried):
        signature["options"]["queue"] = queue


def address(app: Celery, *carried: Any) -> None:
    """The same by the sender's own routes, which the fleet does not know.

    An agent that RabbitMQ lets read its inbox only has no use for Celery's default queue:
    what no route of its own names is left to the fleet, which names the inbox.
    """
    restricted = (app.connection_for_write().userid or "").startswith(USER)
    for signature in _unaddressed(carried):
        queue = app.amqp.router.route({}, signature["task"]).get("queue")
        name = getattr(queue, "name", queue)
        if name != _CELERYS_DEFAULT or not restricted:
            signature["options"]["queue"] = name


_CELERYS_DEFAULT = "celery"


def _unaddressed(carried: Any) -> Iterator[dict[str, Any]]:
    """Not what is only somebody's data, with a key of that name."""
    for signature in signatures_in(carried):
        options, name = signature.get("options"), signature["task"]
        if not isinstance(options, dict) or name.startswith(("transfer.", "celery.")):
            continue
        if not options.get("queue") and not options.get("exchange"):
            yield signature
