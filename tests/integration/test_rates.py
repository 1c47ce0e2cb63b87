"""Rates on a running fleet: what a slow agent has on its way, and what it leaves to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult
from redis import Redis

from argosy.reference import FileReference
from argosy.settings import LEAST_RATE
from models import State
from tasks import transfer
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import Deployment, remote, until
from worker.agents import limit_agent

PARTS = 9 * MB
"""Two parts, at the slowest rate."""
MANY_PARTS = 40 * MB
"""They take more than two minutes then."""
STATE = "SELECT state, part_count, cleaned_at FROM argosy.transfers WHERE id = :id"
HELD = """
SELECT c.number FROM argosy.chunks c JOIN argosy.transfers t ON t.id = c.transfer_id
WHERE t.agent_id = :agent AND c.state = 'moving' AND c.number > 0
"""


UNENDED = """
SELECT id FROM argosy.transfers
WHERE agent_id = :agent AND state IN ('queued', 'planned', 'moving', 'assembling')
"""


@pytest.fixture
def slow(deployment: Deployment, sender: Sender, spool: Path) -> Iterator[Sender]:
    """An agent at the slowest rate; what it has on its way is cancelled afterwards."""
    limit_agent(deployment.settings, sender.agent.name, bytes_per_second=LEAST_RATE)
    yield sender
    left = deployment.query(UNENDED, agent=sender.agent.id)
    cancel(deployment, sender, *(str(row.id) for row in left))


def held(deployment: Deployment, agent: Sender) -> int:
    """Worker processes that are at its parts."""
    return len(deployment.query(HELD, agent=agent.agent.id))


def cancel(deployment: Deployment, agent: Sender, *transfers: str) -> None:
    """Whoever waits for its turn to move hears that it is not wanted."""
    for one in transfers:
        transfer.cancel.apply_async((one,), headers=agent.headers).get(timeout=RESULT_SECONDS)
    for one in transfers:
        until(lambda one=one: deployment.query(STATE, id=one)[0].cleaned_at, what="the clean-up")
    until(lambda: not deployment.unfinished_uploads(agent.agent), what="the abort")
    until(lambda: not held(deployment, agent), what="the worker's letting go")


def is_moving(deployment: Deployment, transfer_id: str) -> Callable[[], bool]:
    def look() -> bool:
        return [row.state for row in deployment.query(STATE, id=transfer_id)] == [State.MOVING]

    return look


def test_a_slow_transfer_is_cut_small_and_cancelled_soon(
    deployment: Deployment, slow: Sender
) -> None:
    asked = slow.upload(deployment.make_file("slow.bin", PARTS))
    until(is_moving(deployment, asked.id), what="its plan")
    assert deployment.query(STATE, id=asked.id)[0].part_count == 2
    until(lambda: held(deployment, slow), what="a part on its way")
    cancel(deployment, slow, asked.id)


def test_a_slow_agent_leaves_workers_to_the_others(deployment: Deployment, slow: Sender) -> None:
    """It has four files of eight parts each, and holds one process; somebody else has another."""
    sources = [deployment.make_file(f"slow-{number}.bin", MANY_PARTS) for number in range(4)]
    asked = [slow.upload(source).id for source in sources]
    until(lambda: held(deployment, slow) == 1, what="a part on its way")
    quick = Sender(deployment.add_agent())
    source = deployment.make_file("quick.bin", 3 * MB)
    for _ in range(2):
        FileReference.parse(quick.upload(source).get(timeout=RESULT_SECONDS))
        assert held(deployment, slow) <= 1
    states = sorted(deployment.query(STATE, id=one)[0].state for one in asked)
    assert states == ["moving", "queued", "queued", "queued"]


@pytest.mark.skipif(remote(), reason="looks into the local stack's Valkey")
def test_without_a_limit_no_bucket_is_asked(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    buckets = Redis.from_url(deployment.environment["RESULT_URL"])
    source = deployment.make_file("quick.bin", 3 * MB)
    sender.upload(source).get(timeout=RESULT_SECONDS)
    assert not buckets.exists(f"argosy:{{rate}}:{sender.agent.id}", "argosy:{rate}:fleet")


@pytest.mark.skipif(remote(), reason="looks into the local stack's Valkey")
def test_every_way_is_paid_for(deployment: Deployment, sender: Sender, spool: Path) -> None:
    """Up and down, plain and compressed: as many slabs as bytes go over the network."""
    limit_agent(deployment.settings, sender.agent.name, bytes_per_second=RATE)
    source = spool / "text.txt"
    source.write_bytes(b"".join(b"%d is a line of its own\n" % number for number in range(400_000)))
    plain, packed = spool / "plain.txt", spool / "packed.txt"
    as_it_is, slabs = paid(deployment, lambda: sender.upload(source))
    assert close(slabs, as_it_is["size"])
    compressed, slabs = paid(deployment, lambda: sender.upload(source, compress="zstd"))
    assert close(slabs, compressed["stored"]["size"])
    _, slabs = paid(deployment, lambda: sender.download(as_it_is, plain))
    assert close(slabs, as_it_is["size"])
    _, slabs = paid(deployment, lambda: sender.download(compressed, packed))
    assert close(slabs, compressed["stored"]["size"])
    assert plain.read_bytes() == packed.read_bytes() == source.read_bytes()


RATE = 8 * MB
SLAB = RATE // 20
"""More than is read from a connection at once: else more than a slab is asked for at a time."""


def paid(deployment: Deployment, act: Callable[[], AsyncResult]) -> tuple[Any, int]:
    """What comes of it, and how often a worker has asked for a slab."""
    buckets = Redis.from_url(deployment.environment["RESULT_URL"])

    def asked() -> int:
        return int(buckets.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))

    before = asked()
    result = act().get(timeout=RESULT_SECONDS)
    told = result if isinstance(result, str) else FileReference.parse(result).document()
    return told, asked() - before


def close(slabs: int, count: int) -> bool:
    """But for what a process had left of a slab, and has now, and for the pieces of a file."""
    return abs(slabs - count / SLAB) <= 3
