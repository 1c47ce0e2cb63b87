"""One file of the corpus, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """`kind` and `content_type` are what `inspect` must say; `thumbnail` is the code of the
    refusal, None where it must work."""

    name: str
    make: Callable[[Path], None]
    kind: str
    content_type: str
    thumbnail: str | None = None
