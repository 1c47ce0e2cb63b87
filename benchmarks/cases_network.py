"""A worse network: late, narrow connections that are reset now and then.

The fleet, rclone and supabase-py reach the same server through the same proxy.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from argosy import FileReference
from argosy.storage.body import FileRange
from benchmarks.cargo import BenchmarkFailed, Cargo
from benchmarks.cases_fleet import Fleet
from benchmarks.cases_tools import environment
from benchmarks.deployment import BUCKET, CHILDREN, WORKER, Deployment
from benchmarks.measure import MIB, Block, Case, Cpu, Sample, Series, timed
from benchmarks.processes import TOOL
from local.network.apart import Network, network
from local.network.line import Conditions

_log = logging.getLogger(__name__)

GROUP = "network"
PART_SIZE = 16 * MIB
FEW_CHILDREN = 4
SUPABASE_PY = "supabase-py"
ROUND_TRIPS = (0.02, 0.05, 0.1)
TARGET = 0.05
RATE = 10_000_000
LIVES = (2.0, 6.0)
_STREAMS = {
    "S3_UPLOAD_CUTOFF": "16Mi",
    "S3_CHUNK_SIZE": "16Mi",
    "MULTI_THREAD_CUTOFF": "16Mi",
    "MULTI_THREAD_CHUNK_SIZE": "16Mi",
}
"""rclone would move a file of this size in one stream; so it moves it in four."""


@dataclass(frozen=True)
class Place:
    """A network, and how a table calls it."""

    name: str
    conditions: Conditions


def place(round_trip: float, rate: int, lives: tuple[float, float] | None = None) -> Place:
    """Connections that are late by so many seconds and carry so many bytes a second."""
    often = f", reset every {lives[0]:.0f} to {lives[1]:.0f} s" if lives else ""
    name = f"{1000 * round_trip:.0f} ms, {rate / 1e6:.0f} MB/s each{often}"
    return Place(name, Conditions(round_trip, rate, lives))


def fleet_name(children: int) -> str:
    """The fleet, by its size."""
    return f"fleet of {children} processes"


class WorseNetwork:
    """The way to Storage, and who goes there; `remarks` names those who did not arrive."""

    def __init__(self, deployment: Deployment, folder: Path, cpu: Cpu) -> None:
        self._deployment = deployment
        self._folder = folder
        self._cpu = cpu
        self._way: Network | None = None
        self._measured: set[tuple[str, Place]] = set()
        self._failed: list[str] = []

    @property
    def remarks(self) -> list[str]:
        """Who failed where."""
        return [f"{what} failed" for what in self._failed]

    def blocks(self, tiny: Cargo, cargo: Cargo, *, whole: bool) -> list[Block]:
        """The `whole` of it; or one place, whose connections are four times as wide."""
        if not whole:
            one = place(TARGET, 4 * RATE)
            return [self._block(CHILDREN, tiny, cargo, [one], others=True)]
        late = [place(seconds, RATE) for seconds in ROUND_TRIPS]
        places = [*late, place(TARGET, RATE, LIVES)]
        return [
            self._block(CHILDREN, tiny, cargo, places, others=True),
            self._block(FEW_CHILDREN, tiny, cargo, [place(TARGET, RATE)]),
        ]

    def _block(
        self,
        children: int,
        tiny: Cargo,
        cargo: Cargo,
        places: Sequence[Place],
        *,
        others: bool = False,
    ) -> Block:
        fleet = Fleet(self._deployment, PART_SIZE)
        by: list[Callable[[Cargo, Place], Iterator[Sample]]] = [
            partial(self._by_fleet, fleet, children)
        ]
        if others:
            by += [self._by_rclone] if shutil.which("rclone") else []
            by += [self._by_supabase_py]
        cases: list[Case] = [partial(each, cargo, where) for where in places for each in by]
        if others:
            cases.insert(0, partial(self._alone, cargo))
        name = f"{GROUP}, {fleet_name(children)}"
        return Block(name, partial(self._running, fleet, children, tiny), cases)

    @contextmanager
    def _running(self, fleet: Fleet, children: int, tiny: Cargo) -> Iterator[None]:
        with (
            network(self._deployment.stack.supabase.port) as self._way,
            self._deployment.fleet(PART_SIZE, children, SUPABASE_URL=self._way.url),
        ):
            fleet.warm_up(tiny, children)
            yield

    @property
    def _open(self) -> Network:
        assert self._way is not None, "only while it runs"
        return self._way

    def _alone(self, cargo: Cargo) -> Iterator[Sample]:
        """What the proxy itself lets pass, when nothing is made worse: in one stream."""
        self._open.change(Conditions())
        store, key = self._deployment.store(self._open.url), f"{self._deployment.agent_id}/alone"
        series = Series(GROUP, "proxy alone, one stream", "upload", cargo.size, TOOL, of="nothing")
        yield timed(series, partial(self._put, cargo, key, self._open.url), self._cpu)[0]
        series = replace(series, action="download")
        yield timed(series, lambda: sum(map(len, store.get(BUCKET, key))), self._cpu)[0]
        self._deployment.remove(key)

    def _put(self, cargo: Cargo, key: str, url: str) -> None:
        with cargo.path.open("rb") as file:
            body = FileRange(file.fileno(), 0, cargo.size)
            store = self._deployment.store(url)
            store.put(BUCKET, key, body, content_type="text/plain", metadata={}, md5=cargo.md5)

    def _by_fleet(
        self, fleet: Fleet, children: int, cargo: Cargo, where: Place
    ) -> Iterator[Sample]:
        self._open.change(where.conditions)
        series = Series(GROUP, fleet_name(children), "upload", cargo.size, WORKER, of=where.name)
        sample, reference = timed(series, lambda: fleet.upload(cargo), self._cpu)
        yield sample
        series = replace(series, action="download")
        sample, arrived = timed(series, lambda: fleet.download(reference), self._cpu)
        yield sample
        self._tidy(cargo, reference, arrived)

    def _tidy(self, cargo: Cargo, reference: FileReference, arrived: Path) -> None:
        cargo.must_equal(arrived)
        arrived.unlink()
        self._deployment.remove(reference.path)

    def _by_rclone(self, cargo: Cargo, where: Place) -> Iterator[Sample]:
        settings = {f"RCLONE_{name}": value for name, value in _STREAMS.items()}
        settings["RCLONE_S3_ENDPOINT"] = f"{self._open.url}/storage/v1/s3"
        there = f":s3:{BUCKET}/{self._deployment.agent_id}/rclone"
        back = str(self._folder / "rclone.back")
        ways = (["copyto", str(cargo.path), there], ["copyto", there, back])
        commands = [["rclone", *way] for way in ways]
        known = environment(self._deployment, self._folder)
        return self._by_program("rclone", commands, {**known, **settings}, cargo, where)

    def _by_supabase_py(self, cargo: Cargo, where: Place) -> Iterator[Sample]:
        """In one stream, as it does."""
        key = f"{self._deployment.agent_id}/{SUPABASE_PY}"
        back = self._folder / f"{SUPABASE_PY}.back"
        command = [sys.executable, "-m", "benchmarks.supabase_py"]
        ways = (("upload", cargo.path), ("download", back))
        commands = [[*command, action, key, str(path)] for action, path in ways]
        variables = {
            **os.environ,
            **self._deployment.stack.environment,
            "SUPABASE_URL": self._open.url,
            "BENCHMARK_TOKEN": self._deployment.token(),
        }
        return self._by_program(SUPABASE_PY, commands, variables, cargo, where)

    def _by_program(
        self,
        name: str,
        commands: Sequence[list[str]],
        variables: dict[str, str],
        cargo: Cargo,
        where: Place,
    ) -> Iterator[Sample]:
        """Up and down; who fails on the way up finds the object there all the same.

        In the first round alone: the connections say how fast they are.
        """
        if (name, where) in self._measured:
            return
        self._measured.add((name, where))
        self._open.change(where.conditions)
        key, back = f"{self._deployment.agent_id}/{name}", self._folder / f"{name}.back"
        try:
            for action, command in zip(("upload", "download"), commands, strict=True):
                series = Series(GROUP, name, action, cargo.size, TOOL, of=where.name)
                work = partial(self._deployment.run, command, environment=variables)
                try:
                    yield timed(series, work, self._cpu)[0]
                except BenchmarkFailed as error:
                    self._note(series, error)
                    if action == "upload":
                        self._put(cargo, key, self._deployment.stack.supabase.url)
                else:
                    if action == "download":
                        cargo.must_equal(back)
        finally:
            back.unlink(missing_ok=True)
            self._deployment.remove(key)

    def _note(self, series: Series, error: BenchmarkFailed) -> None:
        self._failed.append(f"{series.subject}, {series.action}, {series.of}")
        _log.info("%s", error)  # may name paths, so it is not for the report
