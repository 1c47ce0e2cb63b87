"""What rides along with a request: the sender's own tasks to call afterwards.

The fleet publishes them on the sender's behalf, so they must not name one of
the fleet's internal tasks, and they must find the sender's own queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from celery import Celery

from argosy.auth import TOKEN_HEADER
from argosy.errors import InvalidRequest

FACE = frozenset({"transfer.upload", "transfer.download"})
"""Tasks that agents may send; the other `transfer.` tasks are the fleet's own."""


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

    Raises InvalidRequest if one is a task of the fleet's own.
    """
    for signature in signatures_in(carried):
        name = signature["task"]
        if name.startswith("transfer.") and name not in FACE:
            raise InvalidRequest(f"Task {name} is the fleet's own and cannot be chained.")
        options = signature.get("options")
        headers = options.get("headers") if isinstance(options, dict) else None
        if isinstance(headers, dict):
            headers.pop(TOKEN_HEADER, None)


def address(app: Celery, *carried: Any) -> None:
    """Name the queue of every chained task that names none, by the sender's own routes.

    The fleet sends these tasks and does not know the sender's configuration.
    """
    for signature in signatures_in(carried):
        name, options = signature["task"], signature.setdefault("options", {})
        named = {"queue", "exchange", "routing_key"} & options.keys()
        if not named and not name.startswith(("transfer.", "celery.")):
            queue = app.amqp.router.route({}, name).get("queue")
            options["queue"] = getattr(queue, "name", queue)
