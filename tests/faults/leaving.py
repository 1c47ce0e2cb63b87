"""A fleet without beat, whose leases outlast every test, behind a gate that counts and holds.

What one worker lets go of and another takes was handed back: nothing else could have caused it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.servers.fleet import Worker
from tests.deployment import Deployment, until
from tests.integration.client.gate import Gate

PATIENT = {
    "ARGOSY_LEASE_SECONDS": "600",
    "ARGOSY_RESUME_SECONDS": "600",
    "ARGOSY_REPUBLISH_SECONDS": "600",
    "ARGOSY_STORAGE_DEADLINE_SECONDS": "600",
}
"""Nothing runs out while a test runs."""


@contextmanager
def without_fleet(data: Path, **settings: str) -> Iterator[Deployment]:
    """Servers that no worker and no beat uses yet."""
    made = Deployment(data, {**PATIENT, **settings})
    try:
        made.start()
        yield made
    finally:
        made.stop()


def start_worker(
    deployment: Deployment,
    gate: Gate,
    name: str,
    *,
    grace: float,
    concurrency: int = 2,
    **more: str,
) -> Worker:
    """A worker that reaches Storage through the gate."""
    environment = {"SUPABASE_URL": gate.url, "ARGOSY_GRACE_SECONDS": str(grace), **more}
    worker = deployment.start_worker(name, concurrency, **environment)
    assert isinstance(worker, Worker)
    return worker


def until_said(worker: Worker, words: str) -> None:
    """Wait until the worker has logged this since it was started."""
    until(lambda: worker.has_said(words), what=f"{words} in the log of {worker.name}")


def held(gate: Gate) -> int:
    """How many requests have stood at the gate so far, half of their body passed on."""
    return sum(one.held for one in list(gate.passed))


def until_held(gate: Gate, count: int = 1) -> None:
    """Wait until so many have."""
    until(lambda: held(gate) >= count, what=f"{count} parts in workers' hands")


def put_backs(deployment: Deployment, transfer_id: str) -> list[str]:
    """Why chunks of a transfer were put back."""
    rows = deployment.query(
        "SELECT detail ->> 'reason' AS why FROM argosy.events "
        "WHERE transfer_id = :id AND name = 'chunk.put_back'",
        id=transfer_id,
    )
    return [row.why for row in rows]


def tries(deployment: Deployment, transfer_id: str) -> set[int]:
    """How often the chunks of a transfer were tried."""
    return {chunk.attempts for chunk in deployment.chunks(transfer_id)}


def stored_requests(gate: Gate) -> Counter[str]:
    """How often Storage took each object or part."""
    return Counter(one.target for one in list(gate.passed) if one.is_put and one.status == 200)
