"""Many files: by rclone and s5cmd, and by fleets of some sizes, one by one or many at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.cargo import BenchmarkFailed, Cargo
from benchmarks.cases_fleet import Fleet
from benchmarks.cases_tools import Comparison
from benchmarks.deployment import BUCKET, CHILDREN, WORKER, Deployment
from benchmarks.grid import size_text
from benchmarks.lot import Lot, fill, freshen
from benchmarks.measure import MB, Block, Case, Sample, Series, percentile
from benchmarks.moved import moved_since
from benchmarks.processes import TOOL
from benchmarks.sending import Sender, many_at_a_time, one_by_one

GROUP = "many files"
RCLONE, RCLONE_16 = "rclone", "rclone --transfers 16"
MEDIAN, P99 = "s from publish to completed, median", "s from publish to completed, p99"
_STORED = "SELECT count(*) FROM storage.objects WHERE starts_with(name, :folder)"


class ManyFiles:
    """Lots of files, each as a whole."""

    def __init__(
        self,
        deployment: Deployment,
        comparison: Comparison,
        lots: Sequence[Lot],
        processes: Sequence[int],
    ) -> None:
        self._deployment = deployment
        self._comparison = comparison
        self._lots = lots
        self._processes = processes
        self._fleet = Fleet(deployment)

    def blocks(self, tiny: Cargo) -> list[Block]:
        """The tools, and a fleet of each size."""
        tools: list[Case] = [
            partial(self._by_tool, lot, name) for lot in self._lots for name in self._commands(lot)
        ]
        return [
            Block(f"{GROUP}, tools", nullcontext, tools),
            *(self._block(tiny, children) for children in self._processes),
        ]

    def _block(self, tiny: Cargo, children: int) -> Block:
        cases: list[Case] = [partial(self._one_by_one, lot, children) for lot in self._lots]
        cases += [partial(self._at_a_time, lot, children) for lot in self._lots]
        running = partial(self._fleet.running, tiny, children)
        return Block(f"{GROUP}, {_processes(children)}", running, cases)

    # Tools

    def _commands(self, lot: Lot) -> Mapping[str, Callable[[str], Sequence[str]]]:
        """How each that is present copies a lot into a folder of the bucket."""
        source = str(self._folder(lot))
        at = ["--endpoint-url", self._deployment.s3_url]
        known: Mapping[str, Callable[[str], Sequence[str]]] = {
            RCLONE: lambda to: ["rclone", "copy", source, f":s3:{BUCKET}/{to}"],
            RCLONE_16: lambda to: [
                *("rclone", "copy", "--transfers", "16", source, f":s3:{BUCKET}/{to}")
            ],
            "s5cmd": lambda to: ["s5cmd", *at, "cp", f"{source}/", f"s3://{BUCKET}/{to}/"],
        }
        present = {tool.name for tool in self._comparison.present}
        return {name: how for name, how in known.items() if name.split()[0] in present}

    def _by_tool(self, lot: Lot, name: str) -> Iterator[Sample]:
        paths = self._fresh(lot, lot.count)
        to = f"{self._deployment.agent_id}/many-{uuid4()}"
        command = self._commands(lot)[name](to)
        yield self._deployment.tool(
            self._series(name, lot, len(paths), TOOL), partial(self._comparison.run, command)
        )
        stored = self._deployment.query(_STORED, folder=f"{to}/")[0][0]
        if stored != len(paths):
            raise BenchmarkFailed(f"{name} has stored {stored} of {len(paths)} files")
        self._tidy(lot, [f"{to}/{path.name}" for path in paths])

    # The fleet

    def _one_by_one(self, lot: Lot, children: int) -> Iterator[Sample]:
        """A message and a result for each file."""
        paths = self._fresh(lot, min(lot.count, lot.by_one))
        yield from self._measure(
            lot, f"fleet, one by one, {_processes(children)}", paths, one_by_one
        )

    def _at_a_time(self, lot: Lot, children: int) -> Iterator[Sample]:
        """As few messages as they take."""
        paths = self._fresh(lot, lot.count if children == CHILDREN else lot.elsewhere)
        subject = f"fleet, upload_many, {_processes(children)}"
        yield from self._measure(lot, subject, paths, many_at_a_time)

    def _measure(
        self,
        lot: Lot,
        subject: str,
        paths: Sequence[Path],
        send: Sender,
    ) -> Iterator[Sample]:
        series = self._series(subject, lot, len(paths), WORKER)
        since = time.time()
        sample, (published, references) = self._deployment.gauged(series, partial(send, paths))
        _must_be_whole(references, paths)
        ended = {one.path: one.ended for one in moved_since(self._deployment, since)}
        took = [ended[path] - at for path, at in published.items() if path in ended]
        facts = {MEDIAN: percentile(took, 50), P99: percentile(took, 99)} if took else {}
        yield replace(sample, facts={**sample.facts, **facts})
        self._tidy(lot, [reference["path"] for reference in references])

    def _series(self, subject: str, lot: Lot, count: int, mover: str) -> Series:
        of = size_text(lot.size)
        return Series(GROUP, subject, "upload", lot.size * count, mover, items=count, of=of)

    def _folder(self, lot: Lot) -> Path:
        return self._deployment.stack.spool / f"many-{lot.size}"

    def _fresh(self, lot: Lot, count: int) -> Sequence[Path]:
        paths = fill(self._folder(lot), lot.size, lot.count)
        freshen(paths)
        return paths[:count]

    def _tidy(self, lot: Lot, keys: Sequence[str]) -> None:
        """Small files stay: to remove them takes longer than they take room."""
        if lot.size >= MB:
            self._deployment.remove(*keys)


def _processes(children: int) -> str:
    return "1 process" if children == 1 else f"{children} processes"


def _must_be_whole(references: Sequence[Any], paths: Sequence[Path]) -> None:
    """Raise BenchmarkFailed unless there is a reference for each."""
    wrong = [one for one in references if "sha256" not in one]
    if wrong or len(references) != len(paths):
        raise BenchmarkFailed(
            f"{len(references) - len(wrong)} of {len(paths)} files arrived; {wrong[:1]}"
        )
