"""Many files: how many a second, how long one waits, and what one costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.cases_many import GROUP, MEDIAN, P99, RCLONE, RCLONE_16
from benchmarks.deployment import BROKER, CLIENT, POSTGRES, STORAGE, VALKEY, WORKER
from benchmarks.drawing import Bar, Panel, draw
from benchmarks.grid import Grid, figure_text, spread_text
from benchmarks.measure import Spread, Summary
from benchmarks.results import Results, Target
from benchmarks.section import Section

SHARE = 0.8
"""Of rclone's rate, which is to be reached."""
PICTURE = "many-files"
NOTE = (
    "Many files: all at once, from the first that is sent to the last that is verified; each has "
    "bytes of its own. p50 and p99 are from publish to completed by the clock of the database, for "
    "upload_many from the publish of the message that names the file. CPU is milliseconds a file, "
    "of the mover (worker with its children, or the tool), the storage server, PostgreSQL, "
    "RabbitMQ and Valkey, and for the fleet also of the process that sends."
)
_ROLES = (STORAGE, POSTGRES, BROKER, VALKEY)


def grids(results: Results) -> Sequence[Grid]:
    """Those of one size together, the fastest first."""
    found = sorted(results.of(GROUP), key=lambda s: (s.series.size / s.series.items, -_rate(s)))
    cpu = ("CPU ms", "server", "PostgreSQL", "RabbitMQ", "Valkey", "sender")
    columns = ("of", "by", "files", "files/s", "p50 s", "p99 s", *cpu, "n")
    return [Grid("Many files", columns, [_row(summary) for summary in found], 2)]


def _row(summary: Summary) -> Sequence[str]:
    series = summary.series
    roles = (series.mover, *_ROLES, *([CLIENT] if series.mover == WORKER else []))
    cpu = [_milliseconds(summary, role) for role in roles]
    waits = [summary.fact(name) for name in (MEDIAN, P99)]
    return (
        series.of,
        series.subject,
        f"{series.items:,}",
        spread_text(rates(summary), 1, 1),
        *(figure_text(None if wait is None else wait.median, 2) for wait in waits),
        *cpu,
        *([""] if len(cpu) <= len(_ROLES) + 1 else []),
        f"{len(summary.samples)}",
    )


def _milliseconds(summary: Summary, role: str) -> str:
    spent = summary.cpu_per_item([role])
    return figure_text(None if spent is None else spent * 1000, 1)


def rates(summary: Summary) -> Spread:
    """Files a second."""
    items, seconds = summary.series.items, summary.seconds
    return Spread(items / seconds.median, items / seconds.high, items / seconds.low)


def _rate(summary: Summary) -> float:
    return rates(summary).median


def targets(results: Results) -> Sequence[Target]:
    """The fleet's best against rclone, as it is and with more at once."""
    return list(_targets(results.of(GROUP)))


def _targets(summaries: Sequence[Summary]) -> Iterator[Target]:
    for of in dict.fromkeys(s.series.of for s in summaries):
        here = [s for s in summaries if s.series.of == of]
        ours = [s for s in here if s.series.mover == WORKER]
        for theirs in (s for s in here if s.series.subject in (RCLONE, RCLONE_16)):
            if ours:
                yield _target(of, max(ours, key=_rate), theirs)


def _target(of: str, ours: Summary, theirs: Summary) -> Target:
    share = _rate(ours) / _rate(theirs)
    return Target(
        f"files of {of}: {ours.series.subject}: {_rate(ours):.0f} a second, {theirs.series.subject}"
        f" {_rate(theirs):.0f}: {share:.2f} of that, at least {SHARE} wanted",
        share >= SHARE,
    )


def pictures(results: Results) -> Mapping[str, str]:
    """A panel for each size."""
    found = sorted(results.of(GROUP), key=_kind)
    panels = [
        Panel(
            f"files of {of}",
            "a second",
            [_bar(s) for s in found if s.series.of == of],
        )
        for of in dict.fromkeys(s.series.of for s in found)
    ]
    return {PICTURE: draw("Many files: more is faster", panels, max(1, len(panels)))}


def _kind(summary: Summary) -> tuple[bool, str]:
    """The tools, then the fleets by how they are asked."""
    ours = summary.series.mover == WORKER
    return ours, summary.series.subject.rpartition(",")[0] if ours else ""


def _bar(summary: Summary) -> Bar:
    """Its label is as short as there is room for."""
    label = summary.series.subject.removeprefix("fleet, ").replace("--transfers ", "x")
    return Bar.of(label, _rate(summary), ours=summary.series.mover == WORKER)


SECTION = Section(GROUP, grids, lambda _: [NOTE], targets, pictures)
