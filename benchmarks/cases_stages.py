"""What an empty transfer takes, stage by stage: by the audit's times and the sender's own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import accumulate, pairwise

from benchmarks.cargo import BenchmarkFailed, Cargo
from benchmarks.cases_fleet import Fleet
from benchmarks.deployment import WORKER, Deployment
from benchmarks.measure import Block, Sample, Series
from tasks import transfer

GROUP = "stages"
STAGES = ("publish", "accept", "wait for its turn", "plan", "PUT", "verify", "complete", "result")
_SECONDS = 60
_TIMES = """
SELECT max(extract(epoch FROM e.at)) FILTER (WHERE e.name = 'transfer.queued') AS queued,
    extract(epoch FROM t.started_at) AS started,
    max(extract(epoch FROM e.at)) FILTER (WHERE e.name = 'transfer.moving') AS moving,
    (SELECT max(extract(epoch FROM stored_at)) FROM argosy.chunks WHERE transfer_id = t.id)
        AS stored,
    max(extract(epoch FROM e.at)) FILTER (WHERE e.name = 'transfer.assembling') AS assembling,
    max(extract(epoch FROM e.at)) FILTER (WHERE e.name = 'transfer.completed') AS completed
FROM argosy.transfers t JOIN argosy.events e ON e.transfer_id = t.id
WHERE t.id = CAST(:id AS uuid) GROUP BY t.id
"""


class Stages:
    """One transfer of no bytes after the other, when nothing else is to be done."""

    def __init__(self, deployment: Deployment, times: int) -> None:
        self._deployment = deployment
        self._times = times
        self._fleet = Fleet(deployment)

    def block(self, tiny: Cargo) -> Block:
        """So many of them; in one round, for they are many."""
        running = partial(self._fleet.running, tiny)
        return Block(GROUP, running, [self._case], rounds=1)

    def _case(self) -> Iterator[Sample]:
        empty = self._deployment.stack.spool / "empty"
        empty.touch()
        for _ in range(self._times):
            yield self._one(str(empty))

    def _one(self, path: str) -> Sample:
        asked = time.time()
        sent = transfer.upload.delay(path)
        published = time.time()
        sent.get(timeout=_SECONDS)
        there = time.time()
        row = self._deployment.query(_TIMES, id=sent.id)[0]
        moments = [asked, published, row.queued, row.started, row.moving]
        moments += [row.stored or row.assembling, row.completed, _recorded(sent.date_done), there]
        series = Series(GROUP, "an empty file", "upload", 0, WORKER)
        return Sample(series, there - asked, facts=stages_of(moments))


def _recorded(done: object) -> float:
    """When Celery has recorded the result."""
    if isinstance(done, str):
        done = datetime.fromisoformat(done)
    if not isinstance(done, datetime):
        raise BenchmarkFailed("the result does not say when it was recorded")
    return done.timestamp()


def stages_of(moments: Sequence[float | Decimal | None]) -> Mapping[str, float]:
    """Seconds of each stage, between the moments at which it began and ended.

    Who publishes may hear of it later than the fleet, which is at work by then; and what a
    fleet does not note takes no time of its own. So a moment is never before the last one.
    """
    known = accumulate((float(moment or 0) for moment in moments), max)
    return {stage: end - begin for stage, (begin, end) in zip(STAGES, pairwise(known), strict=True)}
