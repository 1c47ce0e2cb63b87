"""Rates on a running fleet: what a slow agent has on its way, and what it leaves to others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
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
STATE = "SELECT state, part_count, cleaned_at FROM argosy.transfers WHERE id = :id"
HELD = """
SELECT c.number FROM argosy.chunks c JOIN argosy.transfers t ON t.id = c.transfer_id
WHERE t.agent_id = :agent AND c.state = 'moving'
"""


@pytest.fixture
def slow(deployment: Deployment, sender: Sender, spool: Path) -> Sender:
    """An agent whose two parts take more than two minutes."""
    limit_agent(deployment.settings, sender.agent.name, bytes_per_second=LEAST_RATE)
    return sender


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
    """Four processes, and four files of two parts: it holds two, and somebody else has one."""
    sources = [deployment.make_file(f"slow-{number}.bin", PARTS) for number in range(4)]
    asked = [slow.upload(source).id for source in sources]
    until(lambda: held(deployment, slow) == 2, what="two parts on their way")
    quick = Sender(deployment.add_agent())
    source = deployment.make_file("quick.bin", 30 * MB)
    for _ in range(3):
        FileReference.parse(quick.upload(source).get(timeout=RESULT_SECONDS))
        assert held(deployment, slow) <= 2
    assert {deployment.query(STATE, id=one)[0].state for one in asked} == {"moving", "queued"}
    cancel(deployment, slow, *asked)


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
    """Up, down, compressed up and down: the bucket says until when all of it will have moved."""
    rate = 4 * MB
    limit_agent(deployment.settings, sender.agent.name, bytes_per_second=rate)
    buckets = Redis.from_url(deployment.environment["RESULT_URL"])
    name = f"argosy:{{rate}}:{sender.agent.id}"
    source = spool / "text.txt"
    source.write_bytes(b"".join(b"%d is a line of its own\n" % number for number in range(400_000)))
    plain = sender.upload(source).get(timeout=RESULT_SECONDS)
    packed = sender.upload(source, compress="zstd").get(timeout=RESULT_SECONDS)
    ways = (
        lambda: sender.upload(source, name="again"),
        lambda: sender.upload(source, name="packed", compress="zstd"),
        lambda: sender.download(plain, spool / "plain.txt"),
        lambda: sender.download(packed, spool / "packed.txt"),
    )
    for way in ways:
        until(lambda: not buckets.exists(name), what="a rest")
        way().get(timeout=RESULT_SECONDS)
        assert buckets.exists(name)
