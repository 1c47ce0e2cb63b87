"""Draws bars as SVG: panels in a grid, each of horizontal bars of one or more parts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

BARS, RIGHT, LETTER = 160, 50, 6.6
BAR, GAP, TOP, HEAD, LEGEND = 13, 5, 34, 32, 22
COLOURS = ("#3366aa", "#cc6633", "#339966", "#993377", "#b09020", "#555555", "#44aabb", "#aa4444")
OTHER = "#a8b4c4"
"""Of bars that are not ours."""


@dataclass(frozen=True)
class Bar:
    """A label, and what its length is made of; a part without a name has no legend."""

    label: str
    parts: Mapping[str, float]
    ours: bool = True

    @classmethod
    def of(cls, label: str, value: float, *, ours: bool = True) -> Bar:
        """In one piece."""
        return cls(label, {"": value}, ours)

    @property
    def length(self) -> float:
        """Of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Panel:
    """Bars of one scale, which begins at nothing."""

    title: str
    unit: str
    bars: Sequence[Bar]

    @property
    def legend(self) -> list[str]:
        """Names of parts, in the order in which they first come."""
        return list(dict.fromkeys(name for bar in self.bars for name in bar.parts if name))

    @property
    def height(self) -> int:
        """In the picture's units, which are pixels."""
        return TOP + len(self.bars) * (BAR + GAP) + 8


def draw(title: str, panels: Sequence[Panel], columns: int, *, longest: int = BARS) -> str:
    """The picture: so many panels in a row, and one legend for all.

    The longest bar of each panel has this length, in pixels.
    """
    labels = _room_for(panels)
    wide = labels + longest + RIGHT
    legend = list(dict.fromkeys(name for panel in panels for name in panel.legend))
    tall = max((panel.height for panel in panels), default=0)
    rows = math.ceil(len(panels) / columns)
    width = columns * wide
    foot = LEGEND * math.ceil(len(legend) / _in_a_row(width))
    height = HEAD + rows * tall + foot
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="10" y="22" font-size="15">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        x, y = number % columns * wide, number // columns * tall + HEAD
        parts += [
            f'<g transform="translate({x} {y})">',
            *_panel(panel, legend, labels, longest),
            "</g>",
        ]
    parts += _legend(legend, width, HEAD + rows * tall)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _room_for(panels: Sequence[Panel]) -> int:
    return 20 + round(LETTER * max(len(bar.label) for panel in panels for bar in panel.bars))


def _panel(panel: Panel, legend: Sequence[str], labels: int, length: int) -> Iterator[str]:
    scale = length / (max((bar.length for bar in panel.bars), default=0.0) or 1.0)
    heading = f"{panel.title} ({panel.unit})"
    yield f'<text x="10" y="20" font-weight="bold">{escape(heading)}</text>'
    for number, bar in enumerate(panel.bars):
        y = TOP + number * (BAR + GAP)
        yield (
            f'<text x="{labels - 6}" y="{y + 10}" text-anchor="end" fill="#333">'
            f"{escape(bar.label)}</text>"
        )
        x, plain = float(labels), COLOURS[0] if bar.ours else OTHER
        for name, value in bar.parts.items():
            colour = COLOURS[legend.index(name) % len(COLOURS)] if name else plain
            yield (
                f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" height="{BAR}" '
                f'fill="{colour}"/>'
            )
            x += value * scale
        yield f'<text x="{x + 4:.1f}" y="{y + 10}" fill="#333">{figure(bar.length)}</text>'


def _in_a_row(width: int) -> int:
    return max(1, width // 150)


def _legend(names: Sequence[str], width: int, top: int) -> Iterator[str]:
    for number, name in enumerate(names):
        x = 10 + number % _in_a_row(width) * 150
        y = top + number // _in_a_row(width) * LEGEND
        colour = COLOURS[number % len(COLOURS)]
        yield f'<rect x="{x}" y="{y}" width="11" height="11" fill="{colour}"/>'
        yield f'<text x="{x + 16}" y="{y + 10}" fill="#333">{escape(name)}</text>'


def figure(value: float) -> str:
    """A number in three digits or so, without an exponent."""
    if 0 < value < 0.001:
        return "< 0.001"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
