"""Celery's protocol 2, as the fleet takes it: which headers, and what body.

Whoever may write to a queue writes what he likes there. Whatever is not exactly a task
message is refused, and headers that we do not know are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from argosy.redaction import redact
from argosy.trace_context import TRACE_HEADER, valid_trace

MOST_BYTES = 1024 * 1024
"""Of a request: a reference and a few hundred chained tasks are a fraction of that."""
MOST_BYTES_OF_OUR_OWN = 4 * MOST_BYTES
"""What rode along with a request is up to three times as long when the fleet writes it again."""
MOST_DEPTH = 250
"""Lists in lists: far below what Python can pickle for a child."""
LONGEST_HEADER = 255
LONGEST_REPR = 2000

_TEXTS = "task id root_id parent_id group shadow origin lang eta expires argsrepr kwargsrepr"
_NUMBERS = "retries group_index replaced_task_nesting"
_HEADERS: dict[str, type] = {
    **dict.fromkeys(_TEXTS.split(), str),
    **dict.fromkeys(_NUMBERS.split(), int),
    "ignore_result": bool,
}
_REPRS = {"argsrepr", "kwargsrepr"}
_OUR_PREFIX = "argosy_"
_RIDES: dict[str, type] = {"callbacks": list, "errbacks": list, "chain": list, "chord": dict}


class Unfit(Exception):
    """A message that is not taken; `reason` is for the audit, the text says why."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


def malformed(why: str) -> Unfit:
    """A message that is no task message."""
    return Unfit("malformed_message", why)


def known_headers(headers: Mapping[Any, Any]) -> dict[str, Any]:
    """Those that the fleet knows, each of its type. Raises Unfit."""
    found = {
        name: _checked(name, headers[name]) for name in _HEADERS if headers.get(name) is not None
    }
    if not {"task", "id"} <= found.keys():
        raise malformed("it names no task, or has no id")
    ours = {name: value for name, value in headers.items() if str(name).startswith(_OUR_PREFIX)}
    if not all(map(_is_plain, ours.values())):
        raise malformed("a header of ours is no text")
    trace = valid_trace(headers.get(TRACE_HEADER))  # what else it holds is nobody's loss
    return found | ours | ({TRACE_HEADER: trace} if trace else {})


def _checked(name: str, value: Any) -> Any:
    kind = type(value)  # exactly: True is an int as well
    if kind is not _HEADERS[name]:
        raise malformed(f"header {name} is no {_HEADERS[name].__name__}")
    if name in _REPRS:
        return redact(value[: 2 * LONGEST_REPR])[:LONGEST_REPR]
    if isinstance(value, str) and len(value) > LONGEST_HEADER:
        raise malformed(f"header {name} is too long")
    return value


def _is_plain(value: Any) -> bool:
    """Whether a child can be given it; it need not be what it should be."""
    if isinstance(value, list):
        return all(isinstance(inner, str | int | float | None) for inner in value)
    return isinstance(value, str | int | float | None)


Body = tuple[list[Any], dict[str, Any], dict[str, Any] | None]
"""Arguments by position and by name, and what rides along."""


def checked_body(body: Any) -> Body:
    """A decoded body, once the whole of it is what the protocol says. Raises Unfit."""
    if not (isinstance(body, list) and len(body) == 3 and _is_shallow(body)):
        raise malformed("its body is no list of arguments, options and what rides along")
    arguments, named, rides = body
    if not (isinstance(arguments, list) and isinstance(named, dict) and _may_ride(rides)):
        raise malformed("its body is no list of arguments, options and what rides along")
    return arguments, named, rides


def _may_ride(rides: Any) -> bool:
    return rides is None or (
        isinstance(rides, dict)
        and rides.keys() <= _RIDES.keys()
        and all(value is None or isinstance(value, _RIDES[name]) for name, value in rides.items())
    )


def _is_shallow(body: list[Any]) -> bool:
    """Level by level: this is looked at for everybody, and a megabyte holds many lists."""
    level: list[Any] = [body]
    for _ in range(MOST_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return not level


def said(value: Any) -> str | None:
    """What a stranger wrote, fit for a row: short, plain, without secrets."""
    if not isinstance(value, str):
        return None if value is None else f"<{type(value).__name__}>"
    return redact(ascii(value[:1000])[1:-1])[:80]
