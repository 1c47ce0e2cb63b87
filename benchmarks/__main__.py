"""`python -m benchmarks`: measure, show, and write what was found."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path

import click
from rich.console import Console

from argosy.errors import Error
from benchmarks import cases_files, cases_many, machine, measure, report
from benchmarks import plan as plans
from benchmarks.cargo import BenchmarkFailed, require_space
from benchmarks.cases_broker import ThroughBroker
from benchmarks.cases_many import ManyFiles
from benchmarks.cases_media import Thumbnails
from benchmarks.cases_network import WorseNetwork
from benchmarks.cases_tools import Comparison
from benchmarks.clock import Clock
from benchmarks.deployment import CHILDREN, Deployment, deployment
from benchmarks.grid import size_text
from benchmarks.measure import Sample
from benchmarks.plan import Plan
from benchmarks.results import Results
from local.servers import ServerFailed

DOCS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
_FILE = click.Path(path_type=Path, dir_okay=False)

_A_WHILE = 0.2
"""Seconds."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)


@click.command()
@click.option("--quick", is_flag=True, help="Smaller and fewer files, once.")
@click.option("--large", is_flag=True, help="A file of 5 GB too.")
@click.option("--json", "json_file", type=_FILE, help="Default: in docs/benchmarks.")
@click.option("--markdown", "markdown_file", type=_FILE, help="Default: in docs/benchmarks.")
@click.option("--rounds", type=click.IntRange(1), help="How often everything is measured.")
@click.option(
    "--only",
    type=click.Choice((*plans.GROUPS, *plans.APART)),
    multiple=True,
    help="Measure this alone; may be repeated. Writes no file unless one is named."
    " What has a page of its own is measured only so.",
)
def main(
    *,
    quick: bool,
    large: bool,
    json_file: Path | None,
    markdown_file: Path | None,
    rounds: int | None,
    only: tuple[str, ...],
) -> None:
    """Measure the fleet, its storage server, and the tools people would use instead."""
    base = plans.QUICK if quick else plans.FULL
    if large:
        base = replace(base, name="large", times={**base.times, plans.HUGE: 1})
    plan = replace(base, rounds=rounds or base.rounds)
    try:
        results = run(plan, only or plans.GROUPS)
    except (BenchmarkFailed, ServerFailed, Error) as error:
        raise click.ClickException(str(error)) from error
    report.show(results, console)
    if json_file or not only:
        report.write_json(results, json_file or DOCS / f"{plan.name}.json")
    if markdown_file or not only:
        report.write_markdown(results, markdown_file or DOCS / f"{plan.name}.md")


def run(plan: Plan, only: Collection[str]) -> Results:
    """Take all measurements of a plan."""
    about = machine.describe()
    with _scratch() as folder:
        require_space(folder, plan.disk)
        with deployment(folder / "stack") as servers:
            return _measure(plan, only, servers, folder, about)


def _measure(
    plan: Plan, only: Collection[str], servers: Deployment, folder: Path, about: dict[str, str]
) -> Results:
    cargo = plans.Files(plan, servers.stack.spool)
    watch = servers.watch
    comparison = Comparison(servers, folder)
    many_files = ManyFiles(servers, comparison, plan.lots, plan.processes)
    through_broker = ThroughBroker(servers, folder)
    thumbnails = Thumbnails(servers, folder, plan.pictures)
    worse_network = WorseNetwork(servers, folder, watch.cpu)
    console.print("Making files …")
    blocks = plans.blocks(
        plan,
        servers,
        folder,
        cargo,
        comparison,
        many_files,
        through_broker,
        thumbnails,
        worse_network,
        only,
    )
    samples: list[Sample] = []
    clock = Clock(watch.phase)
    with watch.running():
        for sample in measure.interleave(blocks, plan.rounds, clock.phase):
            samples.append(sample)
            _tell(sample)
    how = {
        "run": plan.name,
        "rounds": f"{plan.rounds}",
        "broker": "RabbitMQ" if servers.stack.rabbitmq else "Valkey",
        "fleet": f"one worker of {CHILDREN} processes, where nothing else is said",
        "seconds": clock.said,
    }
    compares = {cases_files.GROUP, cases_many.GROUP} & set(only)
    absent = comparison.remarks if compares else []
    others = (through_broker, thumbnails, worse_network)
    found = chain(absent, *(one.remarks for one in others))
    remarks = list(dict.fromkeys(found))
    return Results(how, about, measure.summarize(samples), watch.peaks, remarks)


def _tell(sample: Sample) -> None:
    """A line for each measurement that takes a while."""
    series = sample.series
    if not series.size or sample.seconds < _A_WHILE:
        return
    rate = series.size / sample.seconds / 1e6
    console.print(
        f"  {series.subject:<30} {series.action:<21} {size_text(series.size):>8}"
        f" {sample.seconds:7.2f} s {rate:7.0f} MB/s"
    )


@contextmanager
def _scratch() -> Iterator[Path]:
    """A temporary folder; PostgreSQL may run as another user, who has to pass through it."""
    with tempfile.TemporaryDirectory(prefix="argosy-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
