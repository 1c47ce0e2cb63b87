"""One file of every size, there and back: by the fleet, the client, and what people would use."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psutil

from argosy import FileReference
from benchmarks.cargo import BenchmarkFailed, Cargo
from benchmarks.cases_fleet import Fleet
from benchmarks.cases_tools import CURL, Comparison
from benchmarks.curl import Curl
from benchmarks.deployment import Deployment
from benchmarks.grid import size_text
from benchmarks.libraries import LibraryProcess, library
from benchmarks.library import DIRECT, SUPABASE
from benchmarks.measure import Block, Sample, Series
from benchmarks.processes import TOOL

GROUP = "one file"
RIVALS = ("rclone", "s5cmd", "aws")
"""Whom the fleet is held against."""

_IN_MEMORY = 3
"""Times a file's size: what supabase-py takes, and some to spare."""

Mover = Callable[[Cargo], Iterator[Sample]]


class OneFile:
    """All ways in which an agent's file may travel, beside each other in one phase."""

    def __init__(self, deployment: Deployment, folder: Path, comparison: Comparison) -> None:
        self._deployment = deployment
        self._folder = folder
        self._comparison = comparison
        self._fleet = Fleet(deployment)
        self._libraries: dict[str, LibraryProcess] = {}

    def block(self, tiny: Cargo, cargos: Mapping[int, Cargo], times: Mapping[int, int]) -> Block:
        """Each size so many times in a round; whose turn it is changes with every file."""
        cases = [partial(self._case, cargos[size]) for size in cargos for _ in range(times[size])]
        return Block(GROUP, partial(self._running, tiny), cases)

    def _case(self, cargo: Cargo) -> Iterator[Sample]:
        for mover in self._movers():
            yield from mover(cargo)

    def _movers(self) -> Sequence[Mover]:
        others: dict[str, Mover] = {SUPABASE: self._by_supabase}
        for tool in self._comparison.present:
            others[tool.name] = partial(self._comparison.round_trip, tool, GROUP)
        if shutil.which(CURL):
            others[CURL] = self._by_curl
        attempts = [partial(self._attempt, name, mover) for name, mover in others.items()]
        return [partial(self._fleet.round_trip, GROUP), self._by_client, *attempts]

    def _attempt(self, name: str, mover: Mover, cargo: Cargo) -> Iterator[Sample]:
        return self._comparison.attempt(name, mover(cargo))

    @contextmanager
    def _running(self, tiny: Cargo) -> Iterator[None]:
        """A fleet, and a process for each library; all have moved something before."""
        with ExitStack() as stack:
            stack.enter_context(self._fleet.running(tiny))
            for name in (DIRECT, SUPABASE):
                self._libraries[name] = stack.enter_context(library(self._deployment, name))
            for mover in (self._by_client, self._by_supabase):
                for _ in mover(tiny):
                    pass
            yield

    def _by_client(self, cargo: Cargo) -> Iterator[Sample]:
        """In direct mode: the agent's own process moves the bytes."""
        ours, back = self._libraries[DIRECT], self._folder / "direct.back"
        series = Series(GROUP, DIRECT, "upload", cargo.size, DIRECT)
        up = partial(ours.ask, action="upload", path=str(cargo.path))
        sample, document = self._deployment.gauged(series, up)
        reference = FileReference.parse(document)
        if reference.sha256 != cargo.sha256:
            raise BenchmarkFailed(f"the reference of {cargo.path.name} is not of its bytes")
        yield sample
        down = partial(ours.ask, action="download", reference=document, path=str(back))
        yield from self._download(DIRECT, DIRECT, cargo, reference.path, down, back)

    def _by_supabase(self, cargo: Cargo) -> Iterator[Sample]:
        """In one stream each way, as it does; the download is in memory as a whole."""
        if cargo.size * _IN_MEMORY > psutil.virtual_memory().available:
            self._comparison.remarks.append(
                f"{SUPABASE} holds a download in memory more than twice: {size_text(cargo.size)} "
                "are too many for it on this machine"
            )
            return
        theirs, back = self._libraries[SUPABASE], self._folder / "supabase-py.back"
        key, token = f"{self._deployment.agent_id}/supabase-py", self._deployment.token()
        told = {"key": key, "token": token}
        series = Series(GROUP, SUPABASE, "upload", cargo.size, SUPABASE)
        up = partial(theirs.ask, action="upload", path=str(cargo.path), **told)
        yield self._deployment.gauged(series, up)[0]
        down = partial(theirs.ask, action="download", path=str(back), **told)
        yield from self._download(SUPABASE, SUPABASE, cargo, key, down, back)

    def _by_curl(self, cargo: Cargo) -> Iterator[Sample]:
        curl, key = Curl(self._deployment), f"{self._deployment.agent_id}/curl"
        back = self._folder / "curl.back"
        series = Series(GROUP, CURL, "upload", cargo.size, TOOL)
        yield self._deployment.tool(series, partial(curl.upload, cargo.path, key))
        down = partial(curl.download, key, back)
        yield from self._download(CURL, TOOL, cargo, key, down, back)

    def _download(
        self,
        by: str,
        mover: str,
        cargo: Cargo,
        key: str,
        work: Callable[[], int | None],
        back: Path,
    ) -> Iterator[Sample]:
        """What comes back is compared, and removed here and there."""
        series = Series(GROUP, by, "download", cargo.size, mover)
        try:
            yield self._deployment.tool(series, work)
            cargo.must_equal(back)
        finally:
            back.unlink(missing_ok=True)
            self._deployment.remove(key)
