"""What is summed up of events: counts, bytes and spreads, by labels of few values each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from argosy.errors import BY_CODE
from models.handing_back import LEFT
from models.transfer import FILES, Kind

SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
SPEEDS = (1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8, 1e9)
"""Bytes a second."""
SIZES = MappingProxyType({"1MB": 10**6, "100MB": 10**8, "1GB": 10**9, "10GB": 10**10})
"""Classes of files, by the most bytes that one of each has."""
LARGER = "larger"
OTHER = "other"
"""Error codes that this version does not know."""
HANDED_BACK = "handed_back"
"""Instead of an error's code: a worker that was asked to end gave it back."""
REGISTERED = "registered"
"""Kind of a file that its agent has stored itself."""

Labels = tuple[str, ...]
Counts = dict[Labels, float]


class Happened(NamedTuple):
    """An event, and what the row of its transfer says; no kind where that is gone, or of none."""

    event: str
    reason: str | None
    detail: Mapping[str, Any] | None
    kind: str = ""
    bucket: str = ""
    priority: str = ""
    size: int | None = None
    stored_size: int | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


OF_THE_TRANSFER = Happened._fields[3:]
"""Columns of its row."""


@dataclass
class Spread:
    """How values are spread: how many up to each bound, how many beyond, and their sum."""

    counts: list[int]
    sum: float = 0.0


@dataclass
class Sums:
    """`counts` by name and labels, `spreads` likewise."""

    counts: dict[str, Counts] = field(default_factory=dict)
    spreads: dict[str, dict[Labels, Spread]] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """As `document` made it."""
        made = cls()
        for name, labels, value in document["counts"]:
            made.add(name, tuple(labels), value)
        for name, labels, counts, total in document["spreads"]:
            made.spreads.setdefault(name, {})[tuple(labels)] = Spread(list(counts), total)
        return made

    def document(self) -> dict[str, Any]:
        """As plain JSON types."""
        counts = [
            [name, list(labels), value]
            for name, found in sorted(self.counts.items())
            for labels, value in sorted(found.items())
        ]
        spreads = [
            [name, list(labels), one.counts, one.sum]
            for name, found in sorted(self.spreads.items())
            for labels, one in sorted(found.items())
        ]
        return {"counts": counts, "spreads": spreads}

    def plus(self, events: Iterable[Happened]) -> Self:
        """These and what the events say."""
        more = type(self).of(self.document())
        for event in events:
            COUNTED[event.event](more, event)
        return more

    def add(self, name: str, labels: Labels, value: float = 1) -> None:
        """Count."""
        counts = self.counts.setdefault(name, {})
        counts[labels] = counts.get(labels, 0) + value

    def observe(self, name: str, labels: Labels, value: float) -> None:
        """Enter a value into a spread."""
        bounds = SPREADS[name]
        empty = Spread([0] * (len(bounds) + 1))
        spread = self.spreads.setdefault(name, {}).setdefault(labels, empty)
        spread.counts[bisect_left(bounds, value)] += 1
        spread.sum += value


Enter = Callable[[Sums, Happened], None]

SPREADS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {"duration": SECONDS, "speed": SPEEDS, "wait": SECONDS}
)
"""Their bounds."""


def size_class(size: int) -> str:
    """The class that a file of so many bytes is of."""
    return next((name for name, most in SIZES.items() if size <= most), LARGER)


def _completed(sums: Sums, event: Happened) -> None:
    sums.add("ended", (event.kind, "completed"))
    if event.kind == Kind.BATCH:  # its files count
        return
    sums.add("bytes", (event.kind,), event.size or 0)
    _store(sums, event, 1)
    for name, labels, value in _spread(event):
        sums.observe(name, labels, value)


def _spread(event: Happened) -> Iterator[tuple[str, Labels, float]]:
    if event.created_at is None or event.started_at is None or event.ended_at is None:
        return
    labels = (event.kind, size_class(event.size or 0))
    seconds = _seconds(event.started_at, event.ended_at)
    yield "duration", labels, seconds
    if event.size and seconds:
        yield "speed", labels, event.size / seconds
    yield "wait", (event.priority,), _seconds(event.created_at, event.started_at)


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())


def _registered(sums: Sums, event: Happened) -> None:
    sums.add("ended", (REGISTERED, "completed"))
    sums.add("bytes", (REGISTERED,), event.size or 0)
    _store(sums, event, 1)


def _failed(sums: Sums, event: Happened) -> None:
    sums.add("ended", (event.kind, "failed"))
    sums.add("failures", (_known(event.reason),))


def _cancelled(sums: Sums, event: Happened) -> None:
    sums.add("ended", (event.kind, "cancelled"))


def _expired(sums: Sums, event: Happened) -> None:
    sums.add("expired", ())
    _store(sums, event, -1)


def _store(sums: Sums, event: Happened, sign: int) -> None:
    if event.kind in FILES:
        size = event.size if event.stored_size is None else event.stored_size
        sums.add("stored_files", (event.bucket,), sign)
        sums.add("stored_bytes", (event.bucket,), sign * (size or 0))


def _stage_put_back(sums: Sums, event: Happened) -> None:
    detail = event.detail or {}
    _put_back(sums, "stage", detail.get("code"), detail.get("message"))


def _chunk_put_back(sums: Sums, event: Happened) -> None:
    code, _, message = str((event.detail or {}).get("reason")).partition(": ")
    _put_back(sums, "chunk", code, message)


def _put_back(sums: Sums, what: str, code: str | None, message: str | None) -> None:
    sums.add("retries", (what, HANDED_BACK if message == LEFT else _known(code)))


def _derived(outcome: str) -> Enter:
    def enter(sums: Sums, event: Happened) -> None:
        sums.add("derivatives", (str((event.detail or {}).get("kind")), outcome))

    return enter


def _known(code: str | None) -> str:
    return code if code in BY_CODE else OTHER


def _of_a_row(enter: Enter) -> Enter:
    """Leave out what is of a transfer whose row is gone."""

    def if_there(sums: Sums, event: Happened) -> None:
        if event.kind:
            enter(sums, event)

    return if_there


COUNTED: Mapping[str, Enter] = MappingProxyType(
    {
        "transfer.completed": _of_a_row(_completed),
        "transfer.registered": _of_a_row(_registered),
        "transfer.failed": _of_a_row(_failed),
        "transfer.cancelled": _of_a_row(_cancelled),
        "transfer.expired": _of_a_row(_expired),
        "transfer.put_back": _stage_put_back,
        "chunk.put_back": _chunk_put_back,
        **{f"derivative.{outcome}": _derived(outcome) for outcome in ("made", "skipped", "failed")},
    }
)
"""The events that count, and how each does."""
