"""What a run consists of: quick or full, the same cases."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import cases_fleet, cases_policies, cases_storage, cases_tools
from benchmarks.cargo import Cargo, make_cargo
from benchmarks.cases_fleet import Fleet
from benchmarks.cases_tools import Comparison
from benchmarks.deployment import Deployment
from benchmarks.measure import GIB, MIB, Block, Cpu

GROUPS = (cases_storage.GROUP, cases_fleet.GROUP, cases_tools.GROUP, cases_policies.GROUP)
TINY = 10 * 1024
MIDDLE = (10 * MIB, 100 * MIB)
PART_SIZES = (16 * MIB, 64 * MIB)

_COPIES = 4
"""Of the largest file, at once: itself, its object (and its parts), and what came back."""
_SERVERS = 2 * GIB
"""Databases, brokers, logs."""
_PER_ROW = 2 * 1024
"""Bytes of an object's row with its indexes, and of the log that it was written to."""


@dataclass(frozen=True)
class Plan:
    """How large the largest file is, how many objects there are, how often all is measured."""

    name: str
    largest: int
    objects: int
    rounds: int

    @property
    def disk(self) -> int:
        """Bytes of disk that the run needs."""
        return _COPIES * self.largest + _PER_ROW * self.objects + _SERVERS


FULL = Plan("full", GIB, 1_000_000, 3)
QUICK = Plan("quick", 256 * MIB, 100_000, 1)


@dataclass(frozen=True)
class Loaded:
    """A plan's files, made."""

    tiny: Cargo
    middle: Sequence[Cargo]
    largest: Cargo


def load(plan: Plan, folder: Path) -> Loaded:
    """Make the files."""
    middle = [make_cargo(folder, f"middle-{size}", size) for size in MIDDLE]
    largest = make_cargo(folder, "largest", plan.largest)
    return Loaded(make_cargo(folder, "tiny", TINY), middle, largest)


def blocks(
    plan: Plan,
    deployment: Deployment,
    cargo: Loaded,
    comparison: Comparison,
    cpu: Cpu,
    only: Collection[str],
) -> list[Block]:
    """Everything to measure, or of it `only` some groups."""
    small_parts, large_parts = (Fleet(deployment, size) for size in PART_SIZES)
    everything = {
        cases_storage.GROUP: [cases_storage.block(deployment, cargo.largest, cpu)],
        cases_fleet.GROUP: [
            small_parts.block(cargo.tiny, [*cargo.middle, cargo.largest], cpu, latency=True),
            large_parts.block(cargo.tiny, [cargo.largest], cpu),
        ],
        cases_tools.GROUP: [comparison.block([cargo.largest])],
        cases_policies.GROUP: [cases_policies.block(deployment, plan.objects)],
    }
    return [block for group in GROUPS if group in only for block in everything[group]]
