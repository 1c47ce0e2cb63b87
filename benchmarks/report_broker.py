"""What a file does to the broker: through it, and past it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import cases_files
from benchmarks.cases_broker import GROUP
from benchmarks.cases_fleet import GROUP as FLEET
from benchmarks.deployment import BROKER_BEFORE, BROKER_PEAK
from benchmarks.grid import Grid, size_text, spread_text
from benchmarks.measure import Summary
from benchmarks.results import Results
from benchmarks.section import Section

NOTE = (
    "Through RabbitMQ: memory is that of the broker's process, before and at its highest; a "
    "broker gives memory back late, so what an earlier case took may still be in the first."
)


def grids(results: Results) -> Sequence[Grid]:
    """The fleet's transfers of the same size stand beside it."""
    through = results.of(GROUP)
    sizes = {summary.series.size for summary in through}
    past = [
        s
        for s in results.of(cases_files.GROUP)
        if s.series.subject == FLEET and s.series.size in sizes
    ]
    columns = ("by", "what", "size", "MB/s", "broker MB before", "at its highest", "n")
    return [Grid("Through RabbitMQ", columns, [_row(s) for s in (*past, *through)], 2)]


def _row(summary: Summary) -> Sequence[str]:
    series = summary.series
    spreads = [summary.fact(name) for name in (BROKER_BEFORE, BROKER_PEAK)]
    memory = ["" if spread is None else spread_text(spread, 1e6, 0) for spread in spreads]
    rate = spread_text(summary.rate, 1e6, 0)
    n = f"{len(summary.samples)}"
    return (series.subject, series.action, size_text(series.size), rate, *memory, n)


SECTION = Section(GROUP, grids, lambda _: [NOTE])
