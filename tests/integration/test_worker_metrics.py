"""Metrics after a known workload, of two workers of which one is killed in the middle.

What the books tell is exact. What workers count themselves is what went over the network.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from argosy import FileReference
from argosy.errors import SourceMissing
from local import ports
from local.processes import is_alive
from tests.conftest import MB, Sender
from tests.deployment import Deployment, remote, until
from tests.integration.test_metrics import Samples, parsed, scraped

pytestmark = pytest.mark.skipif(remote(), reason="it kills the workers that it looks at")

PART = 5 * 1024 * 1024
SETTINGS = {
    "ARGOSY_CHUNK_THRESHOLD": str(PART),
    "ARGOSY_PART_SIZE": str(PART),
    "ARGOSY_BYTES_PER_SECOND": str(20 * MB),
}
LARGE = 96 * MB
"""At the fleet's rate it takes some seconds, in the middle of which a worker is killed."""
SMALL = (0, 1, 70_000, 3 * MB, 9 * MB)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    made = Deployment(tmp_path_factory.mktemp("measured"), SETTINGS)
    try:
        made.start()
        for name in ("one", "two"):
            made.start_worker(name, ARGOSY_WORKER_METRICS_PORT=str(ports.take()))
        made.start_beat()
        yield made
    finally:
        made.stop()


def _own(deployment: Deployment, name: str) -> Samples:
    """What a worker tells of itself."""
    worker = deployment.stack_of(name)
    port = worker._own_environment()["ARGOSY_WORKER_METRICS_PORT"]
    return parsed(httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text)


def _files(deployment: Deployment, name: str) -> set[int]:
    """The processes whose files are there."""
    [folder] = (deployment.stack.data / "state" / "metrics").glob(f"{name}@*")  # type: ignore[union-attr]
    stems = [path.stem.rpartition("_")[2] for path in folder.glob("*.db")]
    return {int(pid) for pid in stems if pid != "ended"}


def _less(after: Samples, before: Samples, *names: str) -> dict[tuple[str, ...], float]:
    more = {key: value - before.get(key, 0) for key, value in after.items() if key[0] in names}
    return {key: value for key, value in more.items() if value}


def _kill_holder(deployment: Deployment, transfer_id: str) -> None:
    """SIGKILL the worker that holds a part of it, main process and children, and start it anew."""

    def holder() -> str | None:
        held = "SELECT worker FROM argosy.chunks WHERE transfer_id = :id AND lease_until > now()"
        half = "SELECT 1 FROM argosy.transfers WHERE id = :id AND bytes_done > 15000000"
        if not deployment.query(half, id=transfer_id):
            return None
        rows = deployment.query(held, id=transfer_id)
        return str(rows[0].worker).partition("@")[0] if rows else None

    worker = deployment.stack_of(until(holder, what="a part in a worker's hands") or "")
    worker.kill()
    worker.start()


TOTALS = (
    "argosy_transfers_ended_total",
    "argosy_transferred_bytes_total",
    "argosy_transfers_failed_total",
    "argosy_stored_bytes",
    "argosy_stored_files",
    "argosy_transfer_duration_seconds_count",
)


def test_the_books_are_exact(measured: Deployment) -> None:
    measured.app.set_current()
    sender = Sender(measured.add_agent())
    before = scraped(measured)
    large = sender.upload(measured.make_file("large", LARGE))
    _kill_holder(measured, large.id)
    small = [sender.upload(measured.make_file(f"s{size}", size)) for size in SMALL]
    with pytest.raises(SourceMissing):
        sender.upload(measured.spool / "not there").get(timeout=90)
    references = [FileReference.parse(one.get(timeout=90)) for one in (large, *small)]
    down = [sender.download(one, measured.spool / f"d{one.size}") for one in references[:3]]
    for result in down:
        result.get(timeout=90)
    up_bytes, down_bytes = LARGE + sum(SMALL), sum(one.size for one in references[:3])
    duration = Counter({"1MB": 3, "100MB": 3})
    expected = {
        ("argosy_transfers_ended_total", "upload", "completed"): 6,
        ("argosy_transfers_ended_total", "upload", "failed"): 1,
        ("argosy_transfers_ended_total", "download", "completed"): 3,
        ("argosy_transferred_bytes_total", "upload"): up_bytes,
        ("argosy_transferred_bytes_total", "download"): down_bytes,
        ("argosy_transfers_failed_total", "source_missing"): 1,
        ("argosy_stored_bytes", "agent-transfers"): up_bytes,
        ("argosy_stored_files", "agent-transfers"): 6,
        **{
            ("argosy_transfer_duration_seconds_count", "upload", size): count
            for size, count in duration.items()
        },
        ("argosy_transfer_duration_seconds_count", "download", "1MB"): 2,
        ("argosy_transfer_duration_seconds_count", "download", "100MB"): 1,
    }
    for _ in range(3):  # the second and the third read what the first has summed up
        assert _less(scraped(measured), before, *TOTALS) == expected


def test_what_goes_over_the_network_is_counted(measured: Deployment) -> None:
    """Nothing is killed here, so workers count what the books do."""
    measured.app.set_current()
    sender = Sender(measured.add_agent())
    before = {name: _own(measured, name) for name in ("one", "two")}
    results = [sender.upload(measured.make_file(f"n{number}", 12 * MB)) for number in range(4)]
    references = [result.get(timeout=90) for result in results]
    sender.download(references[0], measured.spool / "again").get(timeout=90)

    def each() -> list[Counter[tuple[str, ...]]]:
        told = (_less(_own(measured, name), before[name], *MOVED) for name in ("one", "two"))
        return [Counter(one) for one in told]

    def moved() -> dict[tuple[str, ...], float]:
        found = sum(each(), Counter())
        return {key: value for key, value in found.items() if "stage" not in key}

    expected = {
        ("argosy_worker_moved_bytes_total", "up"): 48 * MB,
        ("argosy_worker_moved_bytes_total", "down"): 12 * MB,
        ("argosy_worker_claims_total", "done", "chunk"): 5 * 3 + 4,  # and the uploads' digests
    }
    until(lambda: moved() == expected, what=f"{moved()} to be {expected}")
    assert all(each()), "one of the workers had nothing to do"


MOVED = ("argosy_worker_moved_bytes_total", "argosy_worker_claims_total")


def test_a_child_that_is_killed_takes_nothing_with_it(measured: Deployment) -> None:
    worker = measured.stack_of("one")
    before = _own(measured, "one")
    [victim, *_] = _files(measured, "one") - {worker.pid}
    os.kill(victim, signal.SIGKILL)
    until(lambda: not is_alive_pid(victim), what="its end")
    until(lambda: victim not in _files(measured, "one"), 30, what="its files' end")
    after = _own(measured, "one")
    counted = {key: value for key, value in before.items() if key[0].endswith(("_total", "_count"))}
    assert counted
    assert all(after[key] >= value for key, value in counted.items())
    until(
        lambda: _own(measured, "one")[("argosy_worker_processes",)] == 2, 30, what="another child"
    )


def is_alive_pid(pid: int) -> bool:
    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def test_labels_have_few_values(measured: Deployment) -> None:
    """After everything above: no id, no name of a file, no message of an error."""
    for name in ("one", "two"):
        told: Counter[Any] = Counter(key[0] for key in _own(measured, name))
        assert told
        assert max(told.values()) < 300, told.most_common(3)
        values = {value for key in _own(measured, name) for value in key[1:]}
        assert not [value for value in values if len(value) > 40 or "/" in value]


def test_two_workers_and_one_port(measured: Deployment, tmp_path: Path) -> None:
    """The second one works, says why nobody can read what it counts, and takes the port later."""
    first, port = measured.stack_of("two"), str(ports.take())
    second = measured.start_worker("three", 1, ARGOSY_WORKER_METRICS_PORT=port)
    third = measured.start_worker("four", 1, ARGOSY_WORKER_METRICS_PORT=port)
    assert first.is_running()
    assert third.has_said("metrics.not_served")
    second.stop()
    until(lambda: third.has_said("metrics.served"), 30, what="the port to be free")
    assert _own(measured, "four")[("argosy_worker_processes",)] == 1
    third.stop()
