"""Load: how much at once, what limits it, and what one transfer costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.cases_load import COST, COUNTED, GROUP, TOOK, TOOK_P99, WAIT, WAIT_P99
from benchmarks.counters import EVERYTHING
from benchmarks.deployment import BROKER, CLIENT, POSTGRES, STORAGE, VALKEY, WORKER
from benchmarks.drawing import Bar, Panel, draw
from benchmarks.grid import Grid, figure_text, size_text, spread_text
from benchmarks.measure import Summary
from benchmarks.report_many import rates
from benchmarks.results import Results
from benchmarks.section import Section

PICTURE = "load"
ROLES = (WORKER, STORAGE, POSTGRES, BROKER, VALKEY, CLIENT)
GROWS = 1.1
"""Times as many a second: less than that is no growth."""
NOTE = (
    "Load: so many uploads are sent at once, and the time ends with the last result. Percent "
    "are of all cores: those of the workers, the storage server, PostgreSQL, RabbitMQ, Valkey, "
    "and the process that sends. A wait is from the row that accepts a transfer to its turn, "
    "done is from publish to completed."
)
COST_NOTE = (
    f"What one costs is counted over {COUNTED} uploads, and what the servers do by the clock is "
    "taken off. Statements are those of pg_stat_statements without BEGIN and COMMIT."
)


def grids(results: Results) -> Sequence[Grid]:
    """How much at once, and what one costs."""
    times = ("wait p50 s", "p99 s", "done p50 s", "p99 s")
    columns = ("at once", "of", "a second", *times, *(f"{role} %" for role in ROLES), "busy %", "n")
    load = [_row(summary, results.cores) for summary in _loads(results)]
    return [
        Grid("Load", columns, load, 2),
        Grid("What one upload costs", ("what", "each"), list(_costs(results)), 1),
    ]


def _loads(results: Results) -> list[Summary]:
    return [s for s in results.of(GROUP) if s.series.subject != COST]


def _row(summary: Summary, cores: int) -> Sequence[str]:
    series, busy = summary.series, busy_of(summary, cores)
    facts = [summary.fact(name) for name in (WAIT, WAIT_P99, TOOK, TOOK_P99)]
    return (
        series.subject,
        size_text(series.size // series.items),
        spread_text(rates(summary), 1, 1),
        *(figure_text(None if fact is None else fact.median, 2) for fact in facts),
        *(f"{100 * busy[role]:.0f}" for role in ROLES),
        f"{100 * sum(busy.values()):.0f}",
        f"{len(summary.samples)}",
    )


def busy_of(summary: Summary, cores: int) -> Mapping[str, float]:
    """The share of all cores that each role took."""
    wall = sum(sample.seconds for sample in summary.samples) * cores
    spent = {role: sum(sample.cpu.get(role, 0.0) for sample in summary.samples) for role in ROLES}
    return {role: seconds / wall for role, seconds in spent.items()}


def _costs(results: Results) -> Iterator[Sequence[str]]:
    for summary in results.of(GROUP):
        if summary.series.subject == COST:
            for name in EVERYTHING:
                fact = summary.fact(name)
                if fact is not None:
                    yield (
                        name,
                        f"{fact.median:,.0f}" if fact.median >= 100 else f"{fact.median:.1f}",
                    )


def notes(results: Results) -> Sequence[str]:
    """Where it stops growing is said from the figures."""
    return [NOTE, *_limit(_loads(results), results.cores), COST_NOTE]


def _limit(loads: Sequence[Summary], cores: int) -> Iterator[str]:
    best = max(loads, key=lambda s: rates(s).median, default=None)
    if best is None:
        return
    enough = next(s for s in loads if rates(s).median * GROWS >= rates(best).median)
    busy = busy_of(enough, cores)
    most = max(busy, key=lambda role: busy[role])
    yield (
        f"With {enough.series.subject} at once throughput has stopped growing, at "
        f"{rates(enough).median:.1f} a second: {100 * sum(busy.values()):.0f} % of the processors' "
        f"time is taken then, {100 * busy[most]:.0f} % by the {most}."
    )


def pictures(results: Results) -> Mapping[str, str]:
    """How many a second, and who is busy with it."""
    loads = _loads(results)
    if not loads:
        return {}
    label = "{} at once".format
    rate = [Bar.of(label(s.series.subject), rates(s).median) for s in loads]
    busy = [
        Bar(
            label(s.series.subject),
            {role: 100 * share for role, share in busy_of(s, results.cores).items()},
        )
        for s in loads
    ]
    waits = [(s, s.fact(TOOK), s.fact(TOOK_P99)) for s in loads]
    took = [
        Bar(
            label(s.series.subject), {"median": middle.median, "to p99": p99.median - middle.median}
        )
        for s, middle, p99 in waits
        if middle and p99
    ]
    panels = [
        Panel("uploads", "a second", rate),
        Panel("processors busy", "%", busy),
        Panel("publish to completed", "s", took),
    ]
    return {PICTURE: draw("Load", panels, len(panels))}


SECTION = Section(GROUP, grids, notes, pictures=pictures)
