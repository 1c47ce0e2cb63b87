"""Load: more and more transfers at once, and what one costs the servers behind the fleet."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.cargo import Cargo
from benchmarks.cases_fleet import Fleet
from benchmarks.counters import cost_of
from benchmarks.deployment import WORKER, Deployment
from benchmarks.lot import fill, freshen
from benchmarks.measure import Block, Case, Sample, Series, percentile, timed_alone
from benchmarks.moved import moved_since
from benchmarks.sending import one_by_one

GROUP = "load"
COST = "cost of one"
SIZE = 100_000
"""Bytes of each file: enough to be moved, too little to be what takes time."""
COUNTED = 100
"""Transfers whose cost is counted."""
WAIT, WAIT_P99 = "s from accepted to begun, median", "s from accepted to begun, p99"
TOOK, TOOK_P99 = "s from publish to completed, median", "s from publish to completed, p99"
_ROUNDS = 2
"""A thousand at once take their time."""
_SAMPLES = 20
_AT_LEAST = 50
"""Transfers that are enough for a figure, where they are few at once."""


class Load:
    """A fleet of the usual size, and so many transfers at once."""

    def __init__(self, deployment: Deployment, at_once: Sequence[int]) -> None:
        self._deployment = deployment
        self._at_once = at_once
        self._fleet = Fleet(deployment)
        self._counted = False

    def block(self, tiny: Cargo) -> Block:
        """From few to many; and what one costs."""
        cases: list[Case] = [partial(self._case, count) for count in self._at_once]
        running = partial(self._fleet.running, tiny)
        return Block(GROUP, running, [*cases, self._cost], rounds=_ROUNDS)

    def _case(self, count: int) -> Iterator[Sample]:
        for _ in range(min(_SAMPLES, -(-_AT_LEAST // count))):
            yield self._sample(count)

    def _sample(self, count: int) -> Sample:
        paths, since = self._fresh(count), time.time()
        series = Series(GROUP, f"{count}", "at once", count * SIZE, WORKER, items=count)
        sample, (published, _) = self._deployment.gauged(series, partial(one_by_one, paths))
        moved = moved_since(self._deployment, since)
        waits = [one.started - one.created for one in moved]
        took = [one.ended - published[one.path] for one in moved]
        facts = {
            **{WAIT: percentile(waits, 50), WAIT_P99: percentile(waits, 99)},
            **{TOOK: percentile(took, 50), TOOK_P99: percentile(took, 99)},
        }
        return replace(sample, facts={**sample.facts, **facts})

    def _cost(self) -> Iterator[Sample]:
        """Once: it is counted, not timed."""
        if self._counted:
            return
        self._counted = True
        paths = self._fresh(COUNTED)
        series = Series(GROUP, COST, "upload", COUNTED * SIZE, WORKER, items=COUNTED)
        sample, cost = timed_alone(
            series, lambda: cost_of(self._deployment, partial(one_by_one, paths))
        )
        yield replace(sample, facts={name: value / COUNTED for name, value in cost.items()})

    def _fresh(self, count: int) -> Sequence[Path]:
        most = max(COUNTED, *self._at_once)
        paths = fill(self._deployment.stack.spool / "load", SIZE, most)[:count]
        freshen(paths)
        return paths
