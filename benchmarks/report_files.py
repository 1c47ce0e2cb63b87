"""One file: a row for each way and size, what it is held against, and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from benchmarks import cases_broker
from benchmarks.cases_files import GROUP, RIVALS
from benchmarks.cases_fleet import GROUP as FLEET
from benchmarks.cases_fleet import WITHOUT_MD5
from benchmarks.deployment import BROKER_BEFORE, BROKER_PEAK
from benchmarks.drawing import Bar, Panel, draw
from benchmarks.grid import Grid, figure_text, size_text, spread_text
from benchmarks.library import DIRECT
from benchmarks.measure import Summary
from benchmarks.results import Results, Target, mover_cpu, server_cpu
from benchmarks.section import Section

ACTIONS = ("upload", "download")
MOST_CPU = {
    ("upload", FLEET): 4.5,
    ("upload", WITHOUT_MD5): 3.0,
    ("download", FLEET): 3.5,
}
"""CPU-seconds of a fleet on a GB."""
TIMES_FASTER = 10
"""Than through the broker, with at most one so-many-th of its memory."""
OURS = (FLEET, WITHOUT_MD5, DIRECT)
PICTURE = "one-file"
NOTE = (
    "One file: the tools and curl are programs that are started for every file, which counts; the "
    "fleet, the direct client (`argosy.Client`) and supabase-py are in processes that run already, "
    "as an agent's is. CPU is that of whoever moves the bytes: of the fleet the workers' alone. "
    "The memory is that of the largest process of it; the fleet has one for each child. A tool is "
    "looked at every 10 ms, so of the shortest nothing is said."
)


def grids(results: Results) -> Sequence[Grid]:
    """Sorted by way and size, so that who is compared stands together."""
    found = sorted(results.of(GROUP), key=lambda s: (s.series.action != "upload", s.series.size))
    columns = ("what", "size", "by", "MB/s", "seconds", "CPU s/GB", "server's", "peak MB", "n")
    return [Grid("One file", columns, [_row(summary) for summary in found], 3)]


def _row(summary: Summary) -> Sequence[str]:
    series, peak = summary.series, summary.peak
    cpu = [figure_text(of(summary), 1) for of in (mover_cpu, server_cpu)]
    return (
        series.action,
        size_text(series.size),
        series.subject,
        spread_text(summary.rate, 1e6, 1 if summary.rate.high < 100e6 else 0),
        spread_text(summary.seconds, 1, 3 if summary.seconds.high < 1 else 2),
        *cpu,
        figure_text(None if peak is None else peak / 1e6, 0),
        f"{len(summary.samples)}",
    )


def targets(results: Results) -> Sequence[Target]:
    """Of the largest file that was measured."""
    return list(chain(_against_tools(results), _cpu(results), _against_broker(results)))


def _largest(results: Results, action: str) -> Mapping[str, Summary]:
    """Of the largest size, by whom."""
    ours = [s for s in results.of(GROUP) if s.series.action == action]
    size = max((s.series.size for s in ours), default=0)
    return {s.series.subject: s for s in ours if s.series.size == size}


def _against_tools(results: Results) -> Iterator[Target]:
    for action, name in MOST_CPU:
        found = _largest(results, action)
        rivals = [found[rival] for rival in RIVALS if rival in found]
        if name not in found or not rivals:
            continue
        ours, best = found[name], max(rivals, key=lambda s: s.rate.median)
        yield Target(
            f"{action} of {size_text(ours.series.size)}: {name} {_rate(ours)}, at least the best "
            f"of the tools wanted: {best.series.subject}, {_rate(best)}",
            ours.rate.median >= best.rate.median,
        )


def _cpu(results: Results) -> Iterator[Target]:
    for (action, name), most in MOST_CPU.items():
        ours = _largest(results, action).get(name)
        spent = mover_cpu(ours) if ours else None
        if ours and spent is not None:
            size = size_text(ours.series.size)
            text = f"{action} of {size}: {name} {spent:.2f} CPU s/GB, under {most} wanted"
            yield Target(text, spent < most)


def _against_broker(results: Results) -> Iterator[Target]:
    """Memory is what the broker took on top of what it had: it has some 150 MB when idle."""
    ours, theirs = _largest(results, "upload").get(FLEET), results.of(cases_broker.GROUP)
    if ours is None or not theirs:
        return
    best = max(theirs, key=lambda s: s.rate.median)
    size = size_text(ours.series.size)
    times = ours.rate.median / best.rate.median
    yield Target(
        f"{size}: fleet {_rate(ours)}, through RabbitMQ {_rate(best)} ({best.series.subject}): "
        f"{times:.1f} times, at least {TIMES_FASTER} wanted",
        times >= TIMES_FASTER,
    )
    mine, other = memory_taken(ours), max(map(memory_taken, theirs), default=0.0)
    yield Target(
        f"{size}: RabbitMQ took {mine / 1e6:.0f} MB more memory for the fleet's upload, "
        f"{other / 1e6:.0f} MB for the file itself, at most a tenth of that wanted",
        mine * TIMES_FASTER <= other,
    )


def memory_taken(summary: Summary) -> float:
    """The most that the broker took during one of these, in bytes."""
    taken = (s.facts.get(BROKER_PEAK, 0) - s.facts.get(BROKER_BEFORE, 0) for s in summary.samples)
    return max(0.0, *taken)


def _rate(summary: Summary) -> str:
    return f"{summary.rate.median / 1e6:.0f} MB/s"


def pictures(results: Results) -> Mapping[str, str]:
    """A panel for each way and size."""
    panels = []
    ours = results.of(GROUP)
    for action in ACTIONS:
        for size in sorted({s.series.size for s in ours}):
            bars = [
                Bar.of(s.series.subject, s.rate.median / 1e6, ours=s.series.subject in OURS)
                for s in ours
                if (s.series.action, s.series.size) == (action, size)
            ]
            panels.append(Panel(f"{action}, {size_text(size)}", "MB/s", bars))
    columns = max(1, len(panels) // 2)
    return {PICTURE: draw("One file: more is faster", panels, columns)} if panels else {}


SECTION = Section(GROUP, grids, lambda _: [NOTE], targets, pictures)
