"""Timers, rounds and medians: how a figure is taken, whatever it is of."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TypeVar

MB, GB = 10**6, 10**9
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

    `stored` is what the bytes came to, where they were compressed. `peak` is the highest
    resident memory, in bytes, of the largest process that moved them, where it was looked at.
    `pages` and `rows` are those that PostgreSQL looked at, and `whole` the tables that it read
    from end to end. `facts` are what else was found, by names that say the unit.
    """

    series: Series
    seconds: float
    cpu: Mapping[str, float] = field(default_factory=dict)
    stored: int | None = None
    peak: int | None = None
    pages: int | None = None
    rows: int | None = None
    whole: frozenset[str] = frozenset()
    facts: Mapping[str, float] = field(default_factory=dict)


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


def percentile(figures: Sequence[float], percent: int) -> float:
    """What so many percent of the figures do not exceed; of one figure, that."""
    if len(figures) < 2:
        return figures[0]
    return statistics.quantiles(figures, n=100, method="inclusive")[percent - 1]


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
        return percentile([sample.seconds for sample in self.samples], 99)

    @property
    def core_seconds(self) -> Spread:
        """CPU-seconds of all roles; of samples that have some."""
        return Spread.of([sum(sample.cpu.values()) for sample in self.samples])

    @property
    def stored_share(self) -> float | None:
        """What the bytes came to, of what they were; None where that is not asked."""
        stored = self.samples[0].stored
        return None if stored is None else stored / self.series.size

    @property
    def peak(self) -> int | None:
        """The most memory of one process that moved the bytes, in bytes; None if nobody looked."""
        return max((s.peak for s in self.samples if s.peak is not None), default=None)

    def fact(self, name: str) -> Spread | None:
        """What was found under a name; None where it was not looked for."""
        found = [sample.facts[name] for sample in self.samples if name in sample.facts]
        return Spread.of(found) if found else None

    def cpu_per_gb(self, roles: Iterable[str]) -> float | None:
        """CPU-seconds that these roles spent on a GB, a mean; None if nobody looked.

        The system counts in hundredths of a second, which a short transfer rounds to nothing
        or to much: in a mean that levels out.
        """
        spent = self._cpu_of(roles)
        return None if spent is None else spent * GB / self.series.size

    def cpu_per_item(self, roles: Iterable[str]) -> float | None:
        """The same, on one of the items."""
        spent = self._cpu_of(roles)
        return None if spent is None else spent / self.series.items

    def _cpu_of(self, roles: Iterable[str]) -> float | None:
        wanted = set(roles)
        known = [sample.cpu for sample in self.samples if wanted & sample.cpu.keys()]
        if not known:
            return None
        return statistics.fmean(
            sum(seconds for role, seconds in cpu.items() if role in wanted) for cpu in known
        )


Cpu = Callable[[], Mapping[str, float]]
"""CPU-seconds so far, by role."""

Case = Callable[[], Iterator[Sample]]
"""Takes its measurements once: each yielded sample is one."""


@dataclass(frozen=True)
class Block:
    """Cases that need the same surroundings, which are entered once in a round.

    One that says `rounds` takes part in no more than that.
    """

    name: str
    surroundings: Callable[[], AbstractContextManager[object]]
    cases: Sequence[Case]
    rounds: int | None = None


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
            if block.rounds is not None and number >= block.rounds:
                continue
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
