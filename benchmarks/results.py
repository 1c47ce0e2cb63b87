"""Everything that one run found out, ready to be shown or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
    gains,
    report_growth,
    report_network,
)
from benchmarks.deployment import CLIENT, STORAGE, WORKER
from benchmarks.gains import Coding
from benchmarks.library import DIRECT
from benchmarks.measure import MIB, Sample, Summary
from benchmarks.processes import Watched

LEAST_RATE = 300e6
MOST_MEMORY = 200e6
_FLEETS = (cases_fleet.GROUP, cases_files.GROUP, cases_load.GROUP, cases_many.GROUP)
_OURS = (CLIENT, WORKER, STORAGE, "beat", DIRECT)
_TABLES_OF_THEIR_OWN = {
    cases_broker.GROUP,
    cases_compression.GROUP,
    cases_files.GROUP,
    cases_growth.GROUP,
    cases_load.GROUP,
    cases_many.GROUP,
    cases_media.GROUP,
    cases_network.GROUP,
    cases_policies.GROUP,
    cases_stages.GROUP,
}
LATENCY_UP_TO = MIB
"""Files up to this size show how long a transfer takes, larger ones how fast it is."""


@dataclass(frozen=True)
class Memory:
    """The highest resident memory of the processes of one role in one phase."""

    phase: str
    role: str
    processes: int
    peak: int


@dataclass(frozen=True)
class Target:
    """Something that the figures are held against."""

    text: str
    met: bool


@dataclass(frozen=True)
class Results:
    """One run: `run` says how it was done, `remarks` what it left out."""

    run: Mapping[str, str]
    machine: Mapping[str, str]
    summaries: Sequence[Summary]
    peaks: Mapping[Watched, int]
    remarks: Sequence[str]

    @property
    def cores(self) -> int:
        """Of the machine."""
        return int(self.machine.get("cores", 1))

    @property
    def rates(self) -> list[Summary]:
        """Series that show how fast."""
        return [s for s in self._moved if s.series.size > LATENCY_UP_TO]

    @property
    def latencies(self) -> list[Summary]:
        """Series that show how long."""
        return [s for s in self._moved if s.series.size <= LATENCY_UP_TO]

    @property
    def _moved(self) -> list[Summary]:
        return [s for s in self.summaries if s.series.group not in _TABLES_OF_THEIR_OWN]

    @property
    def policies(self) -> list[Summary]:
        """Series that show what a decision on access costs."""
        return self.of(cases_policies.GROUP)

    @property
    def thumbnails(self) -> list[Summary]:
        """Series that show how many thumbnails a core makes."""
        return self.of(cases_media.GROUP)

    @property
    def codings(self) -> list[Coding]:
        """What compression does to each kind of content."""
        return list(gains.codings(self.summaries))

    @property
    def memory(self) -> list[Memory]:
        """By phase and role, in the order in which they were first seen."""
        found: dict[tuple[str, str], list[int]] = {}
        for watched, peak in self.peaks.items():
            if watched.phase:
                found.setdefault((watched.phase, watched.role), []).append(peak)
        return [Memory(*where, len(peaks), max(peaks)) for where, peaks in found.items()]

    def of(self, group: str) -> list[Summary]:
        """Series of one group."""
        return [s for s in self.summaries if s.series.group == group]

    @property
    def targets(self) -> list[Target]:
        """What is asked of rates, of everybody's memory, of networks and of growth."""
        own = (report_network.targets(self.summaries), report_growth.targets(self.summaries))
        others = [Target(*target) for told in own for target in told]
        return [*self._rates_to_reach(), *self._memory_to_keep(), *others]

    def _rates_to_reach(self) -> list[Target]:
        return [
            Target(
                f"{s.series.subject}, {s.series.action}: {s.rate.median / 1e6:.0f} MB/s, "
                f"over {LEAST_RATE / 1e6:.0f} wanted",
                s.rate.median > LEAST_RATE,
            )
            for s in self.rates
            if s.series.group == cases_storage.GROUP
        ]

    def _memory_to_keep(self) -> list[Target]:
        fleet = [
            memory
            for memory in self.memory
            if memory.phase.startswith(_FLEETS) and memory.role.startswith(_OURS)
        ]
        if not fleet:
            return []
        most = max(fleet, key=lambda memory: memory.peak)
        said = f"{most.role}, {most.peak / 1e6:.0f} MB ({most.phase})"
        text = f"most memory of one process of ours: {said}, at most {MOST_MEMORY / 1e6:.0f} wanted"
        return [Target(text, most.peak <= MOST_MEMORY)]

    def document(self) -> dict[str, Any]:
        """The results as plain JSON types, with every single sample."""
        return {
            "schema": "argosy.benchmark/v1",
            "run": dict(self.run),
            "machine": dict(self.machine),
            "series": [_series_document(summary) for summary in self.summaries],
            "codings": [vars(coding) for coding in self.codings],
            "memory": [vars(memory) for memory in self.memory],
            "remarks": list(self.remarks),
        }


def mover_cpu(summary: Summary) -> float | None:
    """CPU-seconds a GB of whoever moves the bytes."""
    return summary.cpu_per_gb([summary.series.mover])


def server_cpu(summary: Summary) -> float | None:
    """CPU-seconds a GB of the storage server."""
    return summary.cpu_per_gb([STORAGE])


def other_cpu(summary: Summary) -> float | None:
    """CPU-seconds a GB of PostgreSQL, the broker and the result store."""
    return summary.cpu_per_gb(["PostgreSQL", "Valkey", "RabbitMQ"])


def _series_document(summary: Summary) -> dict[str, Any]:
    return {
        **vars(summary.series),
        "seconds": {**vars(summary.seconds), "p99": summary.p99},
        "bytes_per_second": vars(summary.rate),
        "cpu_seconds_per_gb": {
            "mover": mover_cpu(summary),
            "storage server": server_cpu(summary),
            "PostgreSQL, Valkey, RabbitMQ": other_cpu(summary),
        },
        "samples": [_sample_document(sample) for sample in summary.samples],
    }


def _sample_document(sample: Sample) -> dict[str, Any]:
    others = {
        "stored": sample.stored,
        "peak": sample.peak,
        "facts": dict(sample.facts) or None,
        "pages": sample.pages,
        "rows": sample.rows,
        "whole": None if sample.pages is None else sorted(sample.whole),
    }
    found = {name: value for name, value in others.items() if value is not None}
    return {"seconds": sample.seconds, "cpu": dict(sample.cpu), **found}
