"""What a run consists of: quick or full, the same cases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import (
    cases_broker,
    cases_compression,
    cases_fleet,
    cases_growth,
    cases_media,
    cases_network,
    cases_policies,
    cases_storage,
    cases_tools,
)
from benchmarks.apart import apart
from benchmarks.cargo import Cargo, make_cargo, write_cargo
from benchmarks.cases_broker import ThroughBroker
from benchmarks.cases_compression import Compression
from benchmarks.cases_fleet import Fleet
from benchmarks.cases_growth import Growth
from benchmarks.cases_media import Thumbnails
from benchmarks.cases_network import WorseNetwork
from benchmarks.cases_tools import Comparison
from benchmarks.contents import TEXT, content
from benchmarks.deployment import Deployment
from benchmarks.measure import GIB, MIB, Block, Cpu

GROUPS = (
    cases_storage.GROUP,
    cases_fleet.GROUP,
    cases_tools.GROUP,
    cases_broker.GROUP,
    cases_policies.GROUP,
    cases_media.GROUP,
    cases_compression.GROUP,
    cases_network.GROUP,
    cases_growth.GROUP,
)
TINY = 10 * 1024
MIDDLE = (10 * MIB, 100 * MIB)
FAR = 112 * MIB
PART_SIZES = (16 * MIB, 64 * MIB)

_COPIES = 4
"""Of the largest file, at once: itself, its object (and its parts), and what came back."""
_SERVERS = 2 * GIB
"""Databases, brokers, logs."""
_PER_ROW = 2 * 1024
"""Bytes of an object's row with its indexes, and of the log that it was written to."""
_PER_TRANSFER = 4 * 1024
"""The same of all rows of a transfer, while they are there."""


@dataclass(frozen=True)
class Plan:
    """How large the largest file is, how many objects there are, how often all is measured.

    A database grows to as many transfers as there are `objects`.

    Thumbnails are made of so many `pictures`. `content` are the bytes of each kind that are
    compressed alone, `text` those of the file that is compressed on its way.
    """

    name: str
    largest: int
    objects: int
    rounds: int
    pictures: int
    content: int
    text: int

    @property
    def disk(self) -> int:
        """Bytes of disk that the run needs."""
        rows = (_PER_ROW + _PER_TRANSFER) * self.objects
        return _COPIES * self.largest + self.text + rows + _SERVERS


FULL = Plan("full", GIB, 1_000_000, 3, pictures=8, content=48 * MIB, text=256 * MIB)
QUICK = Plan("quick", 256 * MIB, 100_000, 1, pictures=2, content=16 * MIB, text=64 * MIB)


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
    def middle(self) -> Sequence[Cargo]:
        """Between the two."""
        return [make_cargo(self._folder, f"middle-{size}", size) for size in MIDDLE]

    @cached_property
    def largest(self) -> Cargo:
        """For speed."""
        return make_cargo(self._folder, "largest", self._plan.largest)

    @cached_property
    def far(self) -> Cargo:
        """For a worse network: just large enough to be moved in parts."""
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
    cargo: Files,
    comparison: Comparison,
    through_broker: ThroughBroker,
    thumbnails: Thumbnails,
    worse_network: WorseNetwork,
    cpu: Cpu,
    only: Collection[str],
) -> list[Block]:
    """Everything to measure, or of it `only` some groups; makes the files that it takes."""
    small_parts, large_parts = (Fleet(deployment, size) for size in PART_SIZES)
    everything: Mapping[str, Callable[[], list[Block]]] = {
        cases_storage.GROUP: lambda: [cases_storage.block(deployment, cargo.largest, cpu)],
        cases_fleet.GROUP: lambda: [
            small_parts.block(cargo.tiny, [*cargo.middle, cargo.largest], cpu, latency=True),
            large_parts.block(cargo.tiny, [cargo.largest], cpu),
        ],
        cases_tools.GROUP: lambda: [comparison.block([cargo.largest])],
        cases_broker.GROUP: lambda: [through_broker.block(cargo.largest)],
        cases_policies.GROUP: lambda: [cases_policies.block(deployment, plan.objects)],
        cases_media.GROUP: lambda: [thumbnails.block()],
        cases_compression.GROUP: lambda: [
            Compression(plan.content).block(),
            small_parts.compressing(cargo.tiny, cargo.text, cpu),
        ],
        cases_network.GROUP: lambda: worse_network.blocks(
            cargo.tiny, cargo.far, whole=plan.name == FULL.name
        ),
        cases_growth.GROUP: lambda: [Growth(deployment.stack, sizes(plan.objects)).block()],
    }
    return [block for group in GROUPS if group in only for block in everything[group]()]
