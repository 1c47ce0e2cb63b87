"""Timers, rounds and medians: how a figure is taken, whatever it is of."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TypeVar

MIB = 1024**2
GIB = 1024**3

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Series:
    """What is measured: by whom, which way, how many bytes. `mover` is whose CPU moves them.

    The bytes are those of so many `items`, and `of` some kind that a table tells apart.
    """

    group: str
    subject: str
    action: str
    size: int
    mover: str
    items: int = 1
    of: str = ""


@dataclass(frozen=True)
class Sample:
    """One measurement; `cpu` is CPU-seconds by role, empty where it is too short to tell.

    `stored` is what the bytes came to, where they were compressed; `pages` and `rows` are
    those that PostgreSQL looked at, and `whole` the tables that it read from end to end.
    """

    series: Series
    seconds: float
    cpu: Mapping[str, float] = field(default_factory=dict)
    stored: int | None = None
    pages: int | None = None
    rows: int | None = None
    whole: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Spread:
    """The middle of some figures, and how far they lie apart."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Of one figure or more."""
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True)
class Summary:
    """All samples of one series."""

    series: Series
    samples: Sequence[Sample]

    @property
    def seconds(self) -> Spread:
        """Wall time."""
        return Spread.of([sample.seconds for sample in self.samples])

    @property
    def rate(self) -> Spread:
        """Bytes a second."""
        return Spread.of([self.series.size / sample.seconds for sample in self.samples])

    @property
    def p99(self) -> float:
        """The wall time that one sample in a hundred exceeds."""
        times = [sample.seconds for sample in self.samples]
        if len(times) < 2:
            return times[0]
        return statistics.quantiles(times, n=100, method="inclusive")[98]

    @property
    def core_seconds(self) -> Spread:
        """CPU-seconds of all roles; of samples that have some."""
        return Spread.of([sum(sample.cpu.values()) for sample in self.samples])

    @property
    def stored_share(self) -> float | None:
        """What the bytes came to, of what they were; None where that is not asked."""
        stored = self.samples[0].stored
        return None if stored is None else stored / self.series.size

    def cpu_per_gib(self, roles: Iterable[str]) -> float | None:
        """Median CPU-seconds that these roles spent on a GiB; None if nobody looked."""
        wanted = set(roles)
        known = [sample.cpu for sample in self.samples if wanted & sample.cpu.keys()]
        if not known:
            return None
        spent = statistics.median(
            sum(seconds for role, seconds in cpu.items() if role in wanted) for cpu in known
        )
        return spent * GIB / self.series.size


Cpu = Callable[[], Mapping[str, float]]
"""CPU-seconds so far, by role."""

Case = Callable[[], Iterator[Sample]]
"""Takes its measurements once: each yielded sample is one."""


@dataclass(frozen=True)
class Block:
    """Cases that need the same surroundings, which are entered once in a round."""

    name: str
    surroundings: Callable[[], AbstractContextManager[object]]
    cases: Sequence[Case]


def interleave(
    blocks: Sequence[Block], rounds: int, phase: Callable[[str], AbstractContextManager[object]]
) -> Iterator[Sample]:
    """Run every block in every round, each as a phase of its name.

    No block is always the first one, so a machine that gets slower or faster
    meanwhile does so for all of them.
    """
    for number in range(rounds):
        turn = number % len(blocks)
        for block in [*blocks[turn:], *blocks[:turn]]:
            with phase(block.name), block.surroundings():
                for case in block.cases:
                    yield from case()


def summarize(samples: Iterable[Sample]) -> list[Summary]:
    """One summary for each series, in the order in which they first came."""
    found: dict[Series, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.series, []).append(sample)
    return [Summary(series, of_it) for series, of_it in found.items()]


def timed(series: Series, work: Callable[[], Answer], cpu: Cpu) -> tuple[Sample, Answer]:
    """Measure some work. What earlier work left to be written to disk is written first."""
    os.sync()
    return timed_with_cpu(series, work, cpu)


def timed_with_cpu(series: Series, work: Callable[[], Answer], cpu: Cpu) -> tuple[Sample, Answer]:
    """Measure some work that writes next to nothing."""
    before = cpu()
    sample, answer = timed_alone(series, work)
    spent = {role: total - before.get(role, 0.0) for role, total in cpu().items()}
    return replace(sample, cpu=spent), answer


def timed_alone(series: Series, work: Callable[[], Answer]) -> tuple[Sample, Answer]:
    """Measure the wall time of something short."""
    began = time.perf_counter()
    answer = work()
    return Sample(series, time.perf_counter() - began), answer
