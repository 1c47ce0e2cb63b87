"""Shows results: a table on the terminal, JSON for programs, Markdown for the documentation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.table import Table

from benchmarks import (
    report_broker,
    report_files,
    report_growth,
    report_load,
    report_many,
    report_media,
    report_network,
    report_stages,
)
from benchmarks.grid import Grid, size_text, spread_text
from benchmarks.measure import Summary
from benchmarks.results import Results, Target, mover_cpu, other_cpu, server_cpu
from benchmarks.section import Section

SECTIONS: Sequence[Section] = (
    report_files.SECTION,
    report_broker.SECTION,
    report_many.SECTION,
    report_load.SECTION,
    report_stages.SECTION,
)
"""Groups whose figures have tables of their own; those of others are speed or latency."""

NOTES = (
    "Files are of random bytes, unless text is said, and were just written, so they are read from "
    "the page cache; what is written goes there too. Outstanding writes are flushed before each "
    "measurement.",
    "MB is 10^6 bytes, MiB is 2^20. A figure is the median; lowest and highest are in brackets.",
    "CPU is seconds a GB, the mean of all measurements: of whoever moves the bytes (worker with "
    "its children, tool, or client); of the storage server, which computes the MD5 of every "
    "upload; and of PostgreSQL, Valkey and RabbitMQ together.",
    "The fleet is timed from `.delay()` to the result. That includes SHA-256 and MD5 of the whole, "
    "MD5 of every part against its ETag, the ledger, and for a download also fsync, which the "
    "tools leave out. Row-level security decides on the fleet's and the object store's requests, "
    "not on the tools': they have static keys.",
    "Everything runs on one machine, so the server takes CPU time from whoever it serves.",
    "Memory is resident memory at its highest, shared pages counted in each process.",
)
POLICY_NOTES = (
    "A read check is the policies' decision on one object, in the middle of many; a page is the "
    "statement by which Storage lists; HTTP is the whole request, with and without row-level "
    "security.",
)


def show(results: Results, console: Console) -> None:
    """Draw the tables."""
    for grid in grids(results):
        table = Table(title=grid.title, title_justify="left")
        for number, column in enumerate(grid.columns):
            justify: JustifyMethod = "left" if number < grid.texts else "right"
            table.add_column(column, justify=justify, no_wrap=True)
        for row in grid.rows:
            table.add_row(*row)
        console.print(table)
    for target in targets(results):
        mark = "[green]met[/]" if target.met else "[red]missed[/]"
        console.print(f"{mark}  {target.text}", highlight=False)
    for remark in results.remarks:
        console.print(f"[yellow]note[/] {remark}", highlight=False)


def write_json(results: Results, path: Path) -> None:
    """Write everything, single samples included."""
    document = {**results.document(), "targets": [vars(one) for one in targets(results)]}
    _write(path, json.dumps(document, indent=1))


def write_markdown(results: Results, path: Path) -> None:
    """Write the tables with what is needed to read them, and the pictures beside the file."""
    about = {**results.run, **results.machine}
    policies = POLICY_NOTES if results.policies else ()
    own = [note for section in _measured(results) for note in section.notes(results)]
    own += [*report_network.notes(results.summaries), *report_growth.notes(results.summaries)]
    notes = (*NOTES, *own, *policies, *report_media.notes(results), *results.remarks)
    held = [f"- {'met' if t.met else '**missed**'}: {t.text}" for t in targets(results)]
    sections = [
        "# Benchmark\n\nWritten by `python -m benchmarks`; do not edit.",
        _markdown(Grid("Where and how", ("what", ""), list(about.items()), 2)),
        "\n".join(["## Targets\n", *(held or ["None applies to this run."])]),
        *_write_pictures(results, path),
        *map(_markdown, grids(results)),
        "\n".join(["## How to read it\n", *(f"- {note}" for note in notes)]),
    ]
    _write(path, "\n\n".join(sections))


def targets(results: Results) -> list[Target]:
    """What the figures are held against, and whether they reach it."""
    own = [target for section in _measured(results) for target in section.targets(results)]
    return [*own, *results.targets]


def _measured(results: Results) -> list[Section]:
    return [section for section in SECTIONS if results.of(section.group)]


def _write_pictures(results: Results, path: Path) -> list[str]:
    """Write them, and return what a page shows them with."""
    shown = []
    for section in _measured(results):
        for name, svg in section.pictures(results).items():
            picture = path.with_name(f"{path.stem}.{name}.svg")
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_text(svg)
            shown.append(f"![{section.group}]({picture.name})")
    return shown


def grids(results: Results) -> list[Grid]:
    """The tables of a run; those without rows are left out."""
    rates = [_rate_row(summary) for summary in results.rates]
    latencies = [_latency_row(summary) for summary in results.latencies]
    memory = [(m.phase, m.role, f"{m.processes}", f"{m.peak / 1e6:.0f}") for m in results.memory]
    policies = [_policy_row(summary) for summary in results.policies]
    cpu = ("CPU s/GB", "server's", "others'")
    own = [grid for section in _measured(results) for grid in section.grids(results)]
    all_of_them = [
        *own,
        Grid("Speed", ("by", "what", "size", "MB/s", "seconds", *cpu, "n"), rates, 2),
        Grid("Latency", ("by", "what", "size", "median ms", "p99 ms", "n"), latencies, 2),
        *report_media.grids(results),
        report_network.grid(results.summaries),
        *report_growth.grids(results.summaries),
        Grid("Policies", ("what", "how", "median µs", "p99 µs", "n"), policies, 2),
        Grid("Memory", ("during", "process", "of", "peak MB"), memory, 2),
    ]
    return [grid for grid in all_of_them if grid.rows]


def _rate_row(summary: Summary) -> Sequence[str]:
    series = summary.series
    cpu = [_cpu_text(of, summary) for of in (mover_cpu, server_cpu, other_cpu)]
    return (
        series.subject,
        f"{series.action}, {series.of}" if series.of else series.action,
        size_text(series.size),
        spread_text(summary.rate, 1e6, 0),
        spread_text(summary.seconds, 1, 2),
        *cpu,
        f"{len(summary.samples)}",
    )


def _cpu_text(of: Callable[[Summary], float | None], summary: Summary) -> str:
    seconds = of(summary)
    return "" if seconds is None else f"{seconds:.1f}"


def _latency_row(summary: Summary) -> Sequence[str]:
    series = summary.series
    median, p99 = summary.seconds.median * 1000, summary.p99 * 1000
    figures = (f"{median:.0f}", f"{p99:.0f}", f"{len(summary.samples)}")
    return (series.subject, series.action, size_text(series.size), *figures)


def _policy_row(summary: Summary) -> Sequence[str]:
    series = summary.series
    median, p99 = summary.seconds.median * 1e6, summary.p99 * 1e6
    return (series.action, series.subject, f"{median:.0f}", f"{p99:.0f}", f"{len(summary.samples)}")


def _markdown(grid: Grid) -> str:
    rule = ["---" if number < grid.texts else "--:" for number in range(len(grid.columns))]
    lines = [f"| {' | '.join(row)} |" for row in (grid.columns, rule, *grid.rows)]
    return "\n".join([f"## {grid.title}\n", *lines])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
