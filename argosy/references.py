"""File references inside other documents: found, read in any version, and replaced."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

from argosy.errors import InvalidMessage, InvalidReference
from argosy.reference import FileReference

PREFIX = "argosy.file/"
"""How the `schema` of every reference begins, whatever its version."""
READERS: dict[int, Callable[[Mapping[str, Any]], FileReference]] = {1: FileReference.parse}
"""How a reference is read, by its version. With a version 2, the reader of version 1 becomes
one that makes a new document of an old one."""
DEEPEST = 250
"""Lists and objects inside each other."""
MOST = 5_000_000
"""Lists and objects in one document."""

_VERSION = re.compile(r"argosy\.file/v([1-9][0-9]{0,8})")

Key = tuple[UUID, str, str, str, int]
_Trail = tuple[Any, str | int] | None
"""Where a value is: the trail of what it is in, and its name or number there."""


def references_in(message: Any, *, limit: int | None = None) -> list[FileReference]:
    """Every file reference in a JSON document, each file once, in the document's order.

    An object counts as one when its `schema` begins with `argosy.file/`; what is in a
    reference, and JSON inside a text, is not looked at. Raises InvalidReference, saying
    where, for one that is broken or of a version unknown here, and InvalidMessage for a
    document that is too deep or too large, or that names more than `limit` files.
    """
    found: dict[Key, FileReference] = {}
    for reference in _references(message):
        found.setdefault(key_of(reference), reference)
        if limit is not None and len(found) > limit:
            raise too_many_files(limit)
    return list(found.values())


def too_many_files(limit: int) -> InvalidMessage:
    """What is raised for a message with more files than `limit`."""
    return InvalidMessage(
        f"The message has more than {limit} files (ARGOSY_MESSAGE_REFERENCES): send several "
        "messages, or an archive."
    )


def is_reference(value: Any) -> bool:
    """Whether a value of a document is meant as a reference."""
    if not isinstance(value, dict):
        return False
    schema = value.get("schema")
    return isinstance(schema, str) and schema.startswith(PREFIX)


def read_reference(document: Mapping[str, Any]) -> FileReference:
    """Read a reference of any version. Raises InvalidReference."""
    schema = str(document["schema"])
    found = _VERSION.fullmatch(schema)
    if found is None:
        raise InvalidReference(f"{schema[:40]!r} is no version of a file reference.")
    version = int(found[1])
    if version not in READERS:
        raise InvalidReference(
            f"This reference is of version {version}, made by a newer Argosy; this one reads up "
            f"to {max(READERS)}: upgrade it."
        )
    return READERS[version](document)


def key_of(reference: FileReference) -> Key:
    """What is the same for two references to one file."""
    place = (reference.bucket, reference.path)
    return (reference.id, *place, reference.sha256, reference.size)


def replaced(value: Any, by: Mapping[Key, Any]) -> Any:
    """The same document with other things instead of its references."""
    if isinstance(value, FileReference):
        return by[key_of(value)]
    if is_reference(value):
        return by[key_of(read_reference(value))]
    if isinstance(value, dict):
        return {name: replaced(one, by) for name, one in value.items()}
    if _is_list(value):
        return type(value)([replaced(one, by) for one in value])
    return value


def _is_list(value: Any) -> bool:
    return type(value) in (list, tuple)  # nothing that is made in another way


def _may_hold(value: Any) -> bool:
    return isinstance(value, dict | FileReference) or _is_list(value)


def _references(message: Any) -> Iterator[FileReference]:
    """Without recursion: a stranger chose how deep the document is."""
    waiting: list[tuple[Any, _Trail, int]] = [(message, None, 0)]
    seen = 0
    while waiting:
        value, trail, depth = waiting.pop()
        if isinstance(value, FileReference):
            yield value
        elif is_reference(value):
            yield _read_at(value, trail)
        else:
            seen += 1
            _check_bounds(seen, depth)
            inside = [(one, (trail, at), depth + 1) for at, one in _items(value) if _may_hold(one)]
            waiting.extend(reversed(inside))


def _items(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return iter(value.items())
    return iter(enumerate(value)) if _is_list(value) else iter(())


def _check_bounds(seen: int, depth: int) -> None:
    if depth > DEEPEST:
        raise InvalidMessage(f"The document has lists and objects in more than {DEEPEST} others.")
    if seen > MOST:
        raise InvalidMessage(f"The document has more than {MOST:,} lists and objects.")


def _read_at(document: Mapping[str, Any], trail: _Trail) -> FileReference:
    try:
        return read_reference(document)
    except InvalidReference as error:
        raise InvalidReference(f"At {_spell(trail)}: {error.message}") from None


def _spell(trail: _Trail) -> str:
    """As `$.inputs[0].file`."""
    steps = []
    while trail is not None:
        trail, at = trail
        steps.append(f"[{at}]" if isinstance(at, int) else f".{str(at)[:100]}")
    return "$" + "".join(reversed(steps))
