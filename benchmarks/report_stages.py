"""An empty transfer by stage: a table, and one bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.cases_stages import GROUP, STAGES
from benchmarks.drawing import Bar, Panel, draw
from benchmarks.grid import Grid
from benchmarks.measure import Summary, percentile
from benchmarks.results import Results
from benchmarks.section import Section

PICTURE = "stages"
_LONG = 600
NOTE = (
    "Stages are of one upload of no bytes at a time, by the clocks of the sender, the audit and "
    "the result: publish until `.delay()` returns; accept until the row is written; its turn until "
    "a worker has claimed it; plan until the ledger is laid out; PUT until its part is entered as "
    "stored; verify until Storage's word is compared and the transfer entered as completed; "
    "complete until the result is recorded; result until the sender has it."
)


def grids(results: Results) -> Sequence[Grid]:
    """A row for each stage, and one for all of it."""
    columns = ("stage", "median ms", "p99 ms", "n")
    return [
        Grid("An empty transfer, by stage", columns, [_row(*one) for one in _figures(summary)], 1)
        for summary in results.of(GROUP)
    ]


def _figures(summary: Summary) -> Sequence[tuple[str, Sequence[float]]]:
    """Seconds by stage, and of all stages."""
    stages = [(stage, [s.facts[stage] for s in summary.samples]) for stage in STAGES]
    return [*stages, ("all of it", [s.seconds for s in summary.samples])]


def _row(stage: str, seconds: Sequence[float]) -> Sequence[str]:
    figures = (percentile(seconds, percent) * 1000 for percent in (50, 99))
    return (stage, *(f"{figure:.1f}" for figure in figures), f"{len(seconds)}")


def pictures(results: Results) -> Mapping[str, str]:
    """The medians, one after the other."""
    bars = [
        Bar(
            summary.series.subject,
            {
                stage: percentile(seconds, 50) * 1000
                for stage, seconds in _figures(summary)
                if stage in STAGES
            },
        )
        for summary in results.of(GROUP)
    ]
    panel = Panel("medians", "ms", bars)
    return {PICTURE: draw("An empty transfer, by stage", [panel], 1, longest=_LONG)}


SECTION = Section(GROUP, grids, lambda _: [NOTE], pictures=pictures)
