"""What rides along with a request: the sender's own tasks to call afterwards.

The fleet publishes them on the sender's behalf, so they must not name one of
the fleet's internal tasks, and they must find the sender's own queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.app.task import Context

from argosy.auth import TOKEN_HEADER
from argosy.errors import AccessDenied, InvalidRequest
from argosy.mailbox import INBOX, USER, inbox_of
from tasks.rider_options import check_options

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


CANVAS = {"group": ("tasks",), "chain": ("tasks",), "chord": ("header", "body")}
"""Signatures that hold others, and the arguments in which they do."""
FOLLOWING = ("chain", "chord", "link", "link_error")
"""Options that hold signatures, and fields of a request."""
KEYS = frozenset({"task", "args", "kwargs", "options", "subtask_type", "immutable", "chord_size"})
"""Of a signature. Of a chord Celery takes any other for an option."""
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


@contextmanager
def put_on_once_checked(request: Context) -> Iterator[None]:
    """Put it on for who checks it within; where that fails, however, it is off again."""
    put_on(request)
    try:
        yield
    except BaseException:  # raised again
        take_off(request)
        raise


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
        check_options(signature["options"])
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
