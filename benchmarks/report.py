"""Shows results: a table on the terminal, JSON for programs, Markdown for the documentation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console, JustifyMethod
from rich.table import Table

from benchmarks import report_growth, report_media, report_network
from benchmarks.grid import Grid, size_text, spread_text
from benchmarks.measure import Summary
from benchmarks.results import Results, mover_cpu, other_cpu, server_cpu

NOTES = (
    "Files are of random bytes, unless text is said, and were just written, so they are read from "
    "the page cache; what is written goes there too. Outstanding writes are flushed before each "
    "measurement.",
    "MB is 10^6 bytes, MiB is 2^20. A figure is the median; lowest and highest are in brackets.",
    "CPU is seconds a GiB: of whoever moves the bytes (worker with its children, tool, or client); "
    "of the storage server, which computes the MD5 of every upload; and of PostgreSQL, Valkey and "
    "RabbitMQ together.",
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
    for target in results.targets:
        mark = "[green]met[/]" if target.met else "[red]missed[/]"
        console.print(f"{mark}  {target.text}", highlight=False)
    for remark in results.remarks:
        console.print(f"[yellow]note[/] {remark}", highlight=False)


def write_json(results: Results, path: Path) -> None:
    """Write everything, single samples included."""
    _write(path, json.dumps(results.document(), indent=1))


def write_markdown(results: Results, path: Path) -> None:
    """Write the tables with what is needed to read them."""
    about = {**results.run, **results.machine}
    policies = POLICY_NOTES if results.policies else ()
    own = [*report_network.notes(results.summaries), *report_growth.notes(results.summaries)]
    notes = (*NOTES, *policies, *report_media.notes(results), *own, *results.remarks)
    targets = [f"- {'met' if t.met else '**missed**'}: {t.text}" for t in results.targets]
    sections = [
        "# Benchmark\n\nWritten by `python -m benchmarks`; do not edit.",
        _markdown(Grid("Where and how", ("what", ""), list(about.items()), 2)),
        *map(_markdown, grids(results)),
        "\n".join(["## Targets\n", *(targets or ["None applies to this run."])]),
        "\n".join(["## How to read it\n", *(f"- {note}" for note in notes)]),
    ]
    _write(path, "\n\n".join(sections))


def grids(results: Results) -> list[Grid]:
    """The tables of a run; those without rows are left out."""
    rates = [_rate_row(summary) for summary in results.rates]
    latencies = [_latency_row(summary) for summary in results.latencies]
    memory = [(m.phase, m.role, f"{m.processes}", f"{m.peak / 1e6:.0f}") for m in results.memory]
    policies = [_policy_row(summary) for summary in results.policies]
    cpu = ("CPU s/GiB", "server's", "others'")
    all_of_them = [
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
