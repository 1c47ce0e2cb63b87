"""Draws a dashboard's panels as one SVG: lines over time, of what Prometheus has kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT, IN_A_ROW = 300, 170, 3
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 26, 42
COLOURS = ("#3366aa", "#cc6633", "#339966", "#993377", "#888833", "#666666")
LEGENDS = 6
Points = Sequence[tuple[float, float]]
"""Seconds and values."""


@dataclass(frozen=True)
class Drawn:
    """One panel, with the points of each line by its legend."""

    title: str
    unit: str
    lines: dict[str, Points]


def draw(title: str, panels: Sequence[Drawn]) -> str:
    """The picture of a dashboard."""
    rows = math.ceil(len(panels) / IN_A_ROW)
    width, height = WIDTH * IN_A_ROW, HEIGHT * rows + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="10">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="20" font-size="15">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        x, y = number % IN_A_ROW * WIDTH, number // IN_A_ROW * HEIGHT + 30
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Drawn) -> Iterable[str]:
    shown = dict(sorted(panel.lines.items(), key=_last, reverse=True)[:LEGENDS])
    top = _nice(max((value for points in shown.values() for _, value in points), default=1.0))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    yield f'<rect x="4" y="2" width="{WIDTH - 8}" height="{HEIGHT - 6}" fill="none" stroke="#ddd"/>'
    yield f'<text x="10" y="17" font-size="11">{escape(panel.title)}</text>'
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - TOP)
        yield f'<path d="M{LEFT} {y:.0f}H{right}" stroke="#eee"/>'
        label = in_unit(share * top, panel.unit)
        yield f'<text x="{LEFT - 4}" y="{y + 3:.0f}" text-anchor="end" fill="#555">{label}</text>'
    for number, (legend, points) in enumerate(shown.items()):
        colour = COLOURS[number]
        path = _path(points, top, (LEFT, right, TOP, bottom))
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        x, y = 10 + number % 3 * 96, bottom + 17 + number // 3 * 13
        yield f'<text x="{x}" y="{y}" fill="{colour}">{escape(legend[:16])}</text>'


def _last(line: tuple[str, Points]) -> float:
    return max((value for _, value in line[1]), default=0.0)


def _path(points: Points, top: float, box: tuple[int, int, int, int]) -> str:
    left, right, upper, lower = box
    if not points:
        return "M0 0"
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)
    places = (
        f"{left + (at - first) / (last - first) * (right - left):.0f} "
        f"{lower - min(value / top, 1) * (lower - upper):.0f}"
        for at, value in points
    )
    return "M" + "L".join(places)


def _nice(value: float) -> float:
    """A round number that is no less."""
    if value <= 0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * step for step in (1, 2, 5, 10) if value <= size * step * 1.0001)


def in_unit(value: float, unit: str) -> str:
    """A number as an axis has it."""
    if unit == "percentunit":
        return f"{value * 100:.3g}%"
    behind = {"s": " s", "Bps": "B/s", "bytes": "B", "ops": "/s"}.get(unit, "")
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size and unit != "s":
            return f"{value / size:.3g}{letter}{behind}"
    return f"{value:.3g}{behind}"
