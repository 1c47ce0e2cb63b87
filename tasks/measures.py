"""What a worker counts itself: the effort, where the books have what came of it.

Each label has few values, all of them names of the code. A process that is killed takes what it
has counted with it at most since its last whole step; work that is done twice counts twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from argosy.errors import Error, StorageUnavailable

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
registry = CollectorRegistry()
"""Of this process alone: a worker tells of all its processes together."""


class Way(StrEnum):
    """Which way bytes go over the network."""

    UP = "up"
    DOWN = "down"


moved_bytes = Counter(
    "argosy_worker_moved_bytes",
    "Bytes of files that went over the network, those that went twice included.",
    ["way"],
    registry=registry,
)
claims = Counter(
    "argosy_worker_claims",
    "Claims that a worker has held, by how they ended.",
    ["what", "end"],
    registry=registry,
)
claim_seconds = Histogram(
    "argosy_worker_claim_seconds",
    "How long a claim was held.",
    ["what"],
    buckets=SECONDS,
    registry=registry,
)
storage_retries = Counter(
    "argosy_worker_storage_retries",
    "Requests to Storage that were repeated, by the error that they met.",
    ["code"],
    registry=registry,
)
expired_leases = Counter(
    "argosy_worker_expired_leases",
    "Leases of chunks that were found to have run out: their workers were killed, or hang.",
    registry=registry,
)
cache_lookups = Counter(
    "argosy_worker_cache_lookups",
    "Looks into what a worker keeps in its memory.",
    ["cache", "result"],
    registry=registry,
)
tasks = Counter(
    "argosy_worker_tasks", "Tasks that have ended.", ["task", "state"], registry=registry
)
task_seconds = Histogram(
    "argosy_worker_task_seconds",
    "How long a task took.",
    ["task"],
    buckets=SECONDS,
    registry=registry,
)
queue_seconds = Histogram(
    "argosy_worker_queue_seconds",
    "How long a message of the fleet's own waited for a worker.",
    ["queue"],
    buckets=SECONDS,
    registry=registry,
)
processes = Gauge(
    "argosy_worker_processes",
    "Processes of a worker that do its work.",
    multiprocess_mode="livesum",
    registry=registry,
)
storage_retries.labels(StorageUnavailable.code)  # told before it first happens
_ENDS = {
    "LeaseLost": "lost",
    "HandBack": "handed_back",
    "OutOfTime": "put_back",
    "PutBack": "put_back",
}


@contextmanager
def claim(what: str) -> Iterator[None]:
    """Count a claim by how what is done inside this ends."""
    since, end = monotonic(), "done"
    try:
        yield
    except BaseException as error:
        end = _ENDS.get(type(error).__name__) or ("failed" if isinstance(error, Error) else "other")
        raise
    finally:
        claims.labels(what, end).inc()
        claim_seconds.labels(what).observe(monotonic() - since)


def looked_up(cache: str, *, found: bool) -> None:
    """Count a look into a cache."""
    cache_lookups.labels(cache, "hit" if found else "miss").inc()
