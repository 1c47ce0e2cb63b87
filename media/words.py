"""What a file says of itself, made fit for a row, a message and a reader."""

from __future__ import annotations

import math
from typing import Any

MAX_WORD = 100
MAX_SENTENCE = 300


def word(value: Any, limit: int = MAX_WORD) -> str | None:
    """One line of at most `limit` characters that PostgreSQL can keep; None for nothing."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return None
    shown = "".join(letter if letter.isprintable() else " " for letter in value[: limit * 4])
    return " ".join(shown.split())[:limit].rstrip() or None


def sentence(text: str) -> str:
    """The text, fit to stand in `Facts.problem`."""
    return word(text, MAX_SENTENCE) or "Unknown."


def amount(value: Any) -> float | None:
    """A number that is finite and not negative; None for whatever else it is."""
    try:
        number = float(value)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return round(number, 6) if math.isfinite(number) and number >= 0 else None


def count(value: Any) -> int | None:
    """A whole number that is not negative and fits 63 bits."""
    try:
        number = int(value)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return number if 0 <= number < 2**63 else None
