"""What a run consists of: quick or full, the same cases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import (
    cases_broker,
    cases_compression,
    cases_files,
    cases_fleet,
    cases_growth,
    cases_load,
    cases_many,
    cases_media,
    cases_network,
    cases_policies,
    cases_stages,
    cases_storage,
)
from benchmarks.apart import apart
from benchmarks.cargo import Cargo, make_cargo, write_cargo
from benchmarks.cases_broker import ThroughBroker
from benchmarks.cases_compression import Compression
from benchmarks.cases_files import OneFile
from benchmarks.cases_fleet import Fleet
from benchmarks.cases_growth import Growth
from benchmarks.cases_load import Load
from benchmarks.cases_many import ManyFiles
from benchmarks.cases_media import Thumbnails
from benchmarks.cases_network import WorseNetwork
from benchmarks.cases_stages import Stages
from benchmarks.cases_tools import Comparison
from benchmarks.contents import TEXT, content
from benchmarks.deployment import Deployment
from benchmarks.lot import Lot
from benchmarks.measure import GB, GIB, MB, MIB, Block

GROUPS = (
    cases_storage.GROUP,
    cases_files.GROUP,
    cases_fleet.GROUP,
    cases_broker.GROUP,
    cases_many.GROUP,
    cases_load.GROUP,
    cases_stages.GROUP,
)
"""What is measured when nothing is said."""
APART = (
    cases_policies.GROUP,
    cases_media.GROUP,
    cases_compression.GROUP,
    cases_network.GROUP,
    cases_growth.GROUP,
)
"""What has a page of its own, and is measured when it is named."""
TINY = 10_000
FAR = 112 * MIB
PART_SIZES = (16 * MIB, 64 * MIB)

_COPIES = 4
"""Of the largest file, at once: itself, its object (and its parts), and what came back."""
_COPIES_OF_LOTS = 8
"""Of many files; the small ones stay where they were sent."""
_SERVERS = 2 * GIB
"""Databases, brokers, logs."""
_PER_ROW = 2 * 1024
"""Bytes of an object's row with its indexes, and of the log that it was written to."""
_PER_TRANSFER = 4 * 1024
"""The same of all rows of a transfer, while they are there."""


@dataclass(frozen=True)
class Plan:
    """How much is measured, and how often.

    Files go there and back in each of the sizes of `times`, so often in a round, and a tiny one
    for its `latencies`; `lots` are of many files, for fleets of so many `processes`. So many
    transfers are `at_once`, and `empties` one after the other. `objects` are those that policies
    decide on, and the transfers to which a database grows. Thumbnails are made of so many
    `pictures`. `content` are the bytes of each kind that are compressed alone, `text` those of
    the file that is compressed on its way.
    """

    name: str
    rounds: int
    times: Mapping[int, int]
    latencies: int
    lots: Sequence[Lot]
    processes: Sequence[int]
    at_once: Sequence[int]
    empties: int
    objects: int
    pictures: int
    content: int
    text: int

    @property
    def largest(self) -> int:
        """Bytes of the largest file."""
        return max(self.times)

    @property
    def disk(self) -> int:
        """Bytes of disk that the run needs."""
        many = sum(lot.size * lot.count for lot in self.lots)
        rows = (_PER_ROW + _PER_TRANSFER) * self.objects
        return _COPIES * self.largest + _COPIES_OF_LOTS * many + self.text + rows + _SERVERS


FULL = Plan(
    "full",
    rounds=3,
    times={MB: 10, 10 * MB: 5, 100 * MB: 2, GB: 1},
    latencies=50,
    lots=(Lot(10_000, 10_000 // 3, 100, 1_000), Lot(MB, 1_000 // 3, 50, 100)),
    processes=(1, 4, 8, 16),
    at_once=(1, 10, 100, 1_000),
    empties=100,
    objects=1_000_000,
    pictures=8,
    content=48 * MIB,
    text=256 * MIB,
)
QUICK = Plan(
    "quick",
    rounds=1,
    times={MB: 3, 10 * MB: 2, 100 * MB: 1},
    latencies=10,
    lots=(Lot(10_000, 300, 60, 60), Lot(MB, 50, 20, 20)),
    processes=(8,),
    at_once=(1, 10, 100),
    empties=20,
    objects=100_000,
    pictures=2,
    content=16 * MIB,
    text=64 * MIB,
)
HUGE = 5 * GB
"""What is measured besides, if wanted."""


def sizes(most: int) -> list[int]:
    """From a thousand on, each ten times the one before it."""
    return [10**power for power in range(3, len(str(most))) if 10**power <= most]


class Files:
    """A plan's files, each made when it is first asked for."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder

    @cached_property
    def tiny(self) -> Cargo:
        """For latency, and to warm up."""
        return make_cargo(self._folder, "tiny", TINY)

    @cached_property
    def sizes(self) -> Mapping[int, Cargo]:
        """One of each size."""
        return {size: make_cargo(self._folder, f"file-{size}", size) for size in self._plan.times}

    @property
    def largest(self) -> Cargo:
        """For speed."""
        return self.sizes[self._plan.largest]

    @cached_property
    def far(self) -> Cargo:
        """For a worse network: just large enough to be moved in parts in any case."""
        return make_cargo(self._folder, "far", FAR)

    @cached_property
    def text(self) -> Cargo:
        """What can be compressed."""
        with apart() as process:
            return process.submit(_text, self._folder / "text.log", self._plan.text).result()


def _text(path: Path, size: int) -> Cargo:
    return write_cargo(path, content(TEXT, size), TEXT)


def blocks(
    plan: Plan,
    deployment: Deployment,
    folder: Path,
    cargo: Files,
    comparison: Comparison,
    many_files: ManyFiles,
    through_broker: ThroughBroker,
    thumbnails: Thumbnails,
    worse_network: WorseNetwork,
    only: Collection[str],
) -> list[Block]:
    """Everything to measure, or of it `only` some groups; makes the files that it takes."""
    small_parts, large_parts = (Fleet(deployment, size) for size in PART_SIZES)
    cpu, one_file = deployment.watch.cpu, OneFile(deployment, folder, comparison)
    without_md5 = Fleet(deployment, name=cases_fleet.WITHOUT_MD5, ARGOSY_WHOLE_MD5="false")
    whole = plan.name != QUICK.name
    load = Load(deployment, plan.at_once)

    def unsummed(file: Cargo) -> list[Block]:
        return [without_md5.block(cargo.tiny, [file], group=cases_files.GROUP)]

    everything: Mapping[str, Callable[[], list[Block]]] = {
        cases_storage.GROUP: lambda: [cases_storage.block(deployment, cargo.largest, cpu)],
        cases_files.GROUP: lambda: [
            one_file.block(cargo.tiny, cargo.sizes, plan.times),
            *(unsummed(cargo.largest) if whole else ()),
        ],
        cases_fleet.GROUP: lambda: [
            small_parts.block(cargo.tiny, [cargo.largest], latencies=plan.latencies),
            large_parts.block(cargo.tiny, [cargo.largest]),
        ],
        cases_broker.GROUP: lambda: [through_broker.block(cargo.largest)],
        cases_many.GROUP: lambda: many_files.blocks(cargo.tiny),
        cases_load.GROUP: lambda: [load.block(cargo.tiny)],
        cases_stages.GROUP: lambda: [Stages(deployment, plan.empties).block(cargo.tiny)],
        cases_policies.GROUP: lambda: [cases_policies.block(deployment, plan.objects)],
        cases_media.GROUP: lambda: [thumbnails.block()],
        cases_compression.GROUP: lambda: [
            Compression(plan.content).block(),
            small_parts.compressing(cargo.tiny, cargo.text),
        ],
        cases_network.GROUP: lambda: worse_network.blocks(cargo.tiny, cargo.far, whole=whole),
        cases_growth.GROUP: lambda: [Growth(deployment.stack, sizes(plan.objects)).block()],
    }
    return [block for group in (*GROUPS, *APART) if group in only for block in everything[group]()]
