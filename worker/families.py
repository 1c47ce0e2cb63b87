"""Metrics as Prometheus has them, with an end to how many values a label may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from models.sums import Spread

MOST = 120
"""Sets of labels of one metric at most: more than the names of the code are."""
Values = Mapping[Any, float]
"""By a tuple of the labels' values, in their order."""


def gauge(name: str, help_: str, values: Values, *labels: str) -> GaugeMetricFamily:
    """What goes up and down."""
    family = GaugeMetricFamily(f"argosy_{name}", help_, labels=labels)
    for told, value in sorted(values.items())[:MOST]:
        family.add_metric(told, float(value))
    return family


def counter(name: str, help_: str, values: Values, *labels: str) -> CounterMetricFamily:
    """What only grows; `_total` is put behind its name."""
    family = CounterMetricFamily(f"argosy_{name}", help_, labels=labels)
    for told, value in sorted(values.items())[:MOST]:
        family.add_metric(told, float(value))
    return family


def histogram(
    name: str,
    help_: str,
    bounds: tuple[float, ...],
    spreads: Mapping[Any, Spread],
    *labels: str,
) -> HistogramMetricFamily:
    """How values are spread."""
    family = HistogramMetricFamily(f"argosy_{name}", help_, labels=labels)
    for told, spread in sorted(spreads.items())[:MOST]:
        family.add_metric(told, _cumulative(bounds, spread), spread.sum)
    return family


def _cumulative(bounds: tuple[float, ...], spread: Spread) -> list[tuple[str, float]]:
    """How many were at most each bound."""
    names = [*map(floatToGoString, bounds), "+Inf"]
    sums = [float(sum(spread.counts[: number + 1])) for number in range(len(spread.counts))]
    return list(zip(names, sums, strict=True))
