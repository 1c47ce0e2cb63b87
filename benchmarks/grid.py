"""A table, and how its figures are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import GB, GIB, MB, MIB, Spread


@dataclass(frozen=True)
class Grid:
    """A table, whatever it is drawn with. The columns after the first `texts` are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int


def size_text(size: int) -> str:
    """1 GB, 10 kB, 16 MiB: in whichever unit it is a round number."""
    for unit, name in ((GB, "GB"), (MB, "MB"), (1000, "kB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (1024, "KiB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} B"


def figure_text(value: float | None, digits: int) -> str:
    """A figure; nothing where there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def spread_text(spread: Spread, scale: float, digits: int) -> str:
    """The median, with lowest and highest in brackets where they can be told apart."""
    median, low, high = (
        f"{v / scale:.{digits}f}" for v in (spread.median, spread.low, spread.high)
    )
    return median if low == high else f"{median} ({low} to {high})"
