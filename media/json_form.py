"""Whether a text is JSON (RFC 8259), or JSON lines. Nothing of what it says is kept."""

from __future__ import annotations

import json
from typing import Any, NoReturn

CHECKED_LINES = 1000


def is_document(text: str) -> bool:
    """Whether the whole text is one JSON value."""
    try:
        _DECODER.decode(text)
    except (ValueError, RecursionError):  # too deep for any reader is no document either
        return False
    return True


def is_lines(text: str, *, whole: bool) -> bool:
    """Whether there are two lines at least, each an object or a list.

    Without `whole` the text ends somewhere in a line, which then does not count. Of many
    lines the first thousand are looked at.
    """
    lines = text.split("\n", CHECKED_LINES)
    if len(lines) > CHECKED_LINES or not whole:
        lines.pop()
    filled = [line for line in lines if line.strip()]
    return len(filled) > 1 and all(_is_part(line) for line in filled)


def _is_part(line: str) -> bool:
    return line.lstrip()[0] in "{[" and is_document(line)


def _nothing(_: Any) -> None:
    return None


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_nothing,
    parse_int=_nothing,  # a number of a million digits is not worked out
    parse_float=_nothing,
    parse_constant=_refuse,
)
