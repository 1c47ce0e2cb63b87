"""What the fleet has done since its first day, as the audit has it: exact, whoever was killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from prometheus_client.core import Metric
from sqlalchemy.orm import Session

from argosy.errors import InternalError, StorageUnavailable
from models.sums import HANDED_BACK, REGISTERED, SECONDS, SPEEDS, Counts, Sums
from models.tally import tell
from models.transfer import Kind
from worker.families import counter, gauge, histogram


class Total(NamedTuple):
    """A metric of sums; `of` is their name in the tally."""

    of: str
    help: str
    labels: tuple[str, ...] = ()


COUNTERS: Mapping[str, Total] = MappingProxyType(
    {
        "transfers_ended": Total("ended", "Transfers that have ended.", ("kind", "outcome")),
        "transferred_bytes": Total("bytes", "Bytes of the files that have arrived.", ("kind",)),
        "transfers_failed": Total("failures", "Transfers that failed, by error code.", ("code",)),
        "retries": Total("retries", "Chunks and stages that were put back.", ("what", "code")),
        "derivatives": Total("derivatives", "What was made of files.", ("kind", "outcome")),
        "files_expired": Total("expired", "Files that are gone: their time ended, or deleted."),
    }
)
GAUGES: Mapping[str, Total] = MappingProxyType(
    {
        "stored_bytes": Total("stored_bytes", "Bytes of the files in a bucket.", ("bucket",)),
        "stored_files": Total("stored_files", "Files in a bucket.", ("bucket",)),
    }
)
HISTOGRAMS: Mapping[str, tuple[Total, tuple[float, ...]]] = MappingProxyType(
    {
        "transfer_duration_seconds": (
            Total("duration", "From a transfer's start to its completion.", ("kind", "size")),
            SECONDS,
        ),
        "transfer_speed_bytes_per_second": (
            Total("speed", "Bytes of a file by the time it took.", ("kind", "size")),
            SPEEDS,
        ),
        "transfer_wait_seconds": (
            Total("wait", "From a transfer's request to its start.", ("priority",)),
            SECONDS,
        ),
    }
)
_ZERO: Mapping[str, Counts] = MappingProxyType(
    {
        "ended": {
            **{(kind, end): 0 for kind in Kind for end in ("completed", "failed", "cancelled")},
            (REGISTERED, "completed"): 0,
        },
        "bytes": {(kind,): 0 for kind in (*Kind, REGISTERED)},
        "derivatives": {
            (kind, outcome): 0
            for kind in ("inspect", "thumbnail", "compress")
            for outcome in ("made", "skipped", "failed")
        },
        "retries": {
            (what, code): 0
            for what in ("chunk", "stage")
            for code in (StorageUnavailable.code, InternalError.code, HANDED_BACK)
        },
        "expired": {(): 0},
    }
)
"""What is told before it first happens, so that the first time is seen to be one more."""


def totals(session: Session) -> Iterator[Metric]:
    """All of them; none while a long past is still being read."""
    sums = tell(session)
    if sums is None:
        return
    for name, total in COUNTERS.items():
        yield counter(name, total.help, _counts(sums, total.of), *total.labels)
    for name, total in GAUGES.items():
        yield gauge(name, total.help, _counts(sums, total.of), *total.labels)
    for name, (total, bounds) in HISTOGRAMS.items():
        spreads = sums.spreads.get(total.of, {})
        yield histogram(name, total.help, bounds, spreads, *total.labels)


def _counts(sums: Sums, name: str) -> Counts:
    return {**_ZERO.get(name, {}), **sums.counts.get(name, {})}
