"""What a report says of one group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.grid import Grid
from benchmarks.results import Results, Target


def _no_notes(_results: Results) -> Sequence[str]:
    return ()


def _no_targets(_results: Results) -> Sequence[Target]:
    return ()


def _no_pictures(_results: Results) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Section:
    """Its tables, and what it has besides them. Asked only where something was measured.

    `notes` are what is needed to read the tables; `pictures` are SVG by their names.
    """

    group: str
    grids: Callable[[Results], Sequence[Grid]]
    notes: Callable[[Results], Sequence[str]] = _no_notes
    targets: Callable[[Results], Sequence[Target]] = _no_targets
    pictures: Callable[[Results], Mapping[str, str]] = _no_pictures
