"""How a process keeps to the rates: in slabs, with small blocks, and with a look at the rate."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from redis.exceptions import ConnectionError as Disconnected
from sqlalchemy.exc import OperationalError

from argosy.storage.body import BLOCK_BYTES, BytesBody
from tasks import throttle as throttle_module
from tasks.lease import Lease, LeaseLost
from tasks.throttle import LEAST_BYTES, MOST_BYTES, Rates, Throttle

MB = 1_000_000
AGENT = uuid4()


class Counting:
    """Buckets that give everything, and note what was taken."""

    def __init__(self, wait: float = 0.0) -> None:
        self.taken: list[tuple[int, dict[str, int]]] = []
        self.wait = wait

    def take(self, count: int, rates: Rates) -> float:
        self.taken.append((count, dict(rates)))
        return self.wait

    @property
    def total(self) -> int:
        return sum(count for count, _ in self.taken)


class Away(Counting):
    """Buckets that cannot be reached while `away`."""

    away = True

    def take(self, count: int, rates: Rates) -> float:
        if self.away:
            raise Disconnected("Valkey is away")
        return super().take(count, rates)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known for long, and nobody is left alone."""
    monkeypatch.setattr(throttle_module, "KNOWN_SECONDS", 1e6)
    monkeypatch.setattr(throttle_module, "AWAY_SECONDS", 0)


def unlimited(_: UUID) -> None:
    return None


def test_without_a_limit_nobody_is_asked() -> None:
    buckets = Counting()
    pace = Throttle(buckets, unlimited).pace(AGENT)
    assert [pace.delay(BLOCK_BYTES) for _ in range(100)] == [0.0] * 100
    assert (buckets.taken, pace.rate, pace.block_bytes) == ([], None, BLOCK_BYTES)


@pytest.mark.parametrize("rate", [65_536, MB, 20 * MB, 400 * MB, 100_000 * MB])
def test_a_slab_is_asked_for_some_tens_of_times_a_second(rate: int) -> None:
    buckets = Counting()
    pace = Throttle(buckets, lambda _: rate).pace(AGENT)
    block, moved, second = pace.block_bytes, 0, min(rate, 500 * MB)
    while moved < second:  # no process moves more than that in a second
        pace.delay(block)
        moved += block
    assert len(buckets.taken) <= 32
    assert moved <= buckets.total <= moved + max(LEAST_BYTES, min(MOST_BYTES, rate // 20))


def test_both_limits_are_asked_at_once() -> None:
    buckets = Counting()
    pace = Throttle(buckets, lambda _: 5 * MB, fleet_rate=20 * MB).pace(AGENT)
    pace.delay(10)
    assert buckets.taken == [(250_000, {"fleet": 20 * MB, str(AGENT): 5 * MB})]


def test_what_is_left_of_a_slab_is_for_the_next_transfer() -> None:
    buckets = Counting()
    throttle = Throttle(buckets, lambda _: 20 * MB)
    for _ in range(1000):
        throttle.pace(AGENT).delay(1000)
    assert len(buckets.taken) == 1


def test_a_rate_is_looked_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    buckets, rates = Counting(), [MB]
    pace = Throttle(buckets, lambda _: rates[0]).pace(AGENT)
    assert pace.rate == MB
    rates[0] = 2 * MB
    assert pace.rate == MB
    monkeypatch.setattr(throttle_module, "KNOWN_SECONDS", 0)
    pace._known_until = 0
    assert pace.rate == 2 * MB


def test_a_rate_that_cannot_be_read_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "KNOWN_SECONDS", 0)
    lost = OperationalError("SELECT", {}, ConnectionError("the database is away"))
    answers: list[int | Exception] = [lost, 3 * MB, lost]

    def rate_of(_: UUID) -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    pace = Throttle(Counting(), rate_of, agents_rate=MB).pace(AGENT)
    assert [pace.rate, pace.rate, pace.rate] == [MB, 3 * MB, 3 * MB]


def test_agents_do_not_use_up_each_others_slabs() -> None:
    buckets = Counting()
    throttle = Throttle(buckets, lambda _: MB)
    for agent in (uuid4(), uuid4()):
        throttle.pace(agent).delay(10)
    assert len(buckets.taken) == 2


def test_a_process_that_is_alone_keeps_to_the_rate() -> None:
    shared = Away()
    pace = Throttle(shared, lambda _: MB).pace(AGENT)
    waits = [pace.delay(50_000) for _ in range(100)]
    assert waits[0] == 0.0
    assert 3.5 < waits[-1] < 4.1  # 5 MB at 1 MB/s, of which a second's worth came at once
    shared.away = False
    pace.delay(50_000)
    assert shared.taken


# What moves


@pytest.fixture
def lease() -> Iterator[Lease]:
    pace = Throttle(Counting(), lambda _: 65_536).pace(AGENT)
    with Lease(lambda: True, 30, pace=pace) as held:
        yield held


def test_a_slow_body_goes_in_small_blocks(lease: Lease) -> None:
    content = bytes(range(256)) * 2000
    blocks = [bytes(block) for block in lease.paced(BytesBody(content)).blocks()]
    assert b"".join(blocks) == content
    assert max(map(len, blocks)) == LEAST_BYTES


def test_each_pass_is_paid_for() -> None:
    buckets = Counting()
    pace = Throttle(buckets, lambda _: 65_536).pace(AGENT)
    with Lease(lambda: True, 30, pace=pace) as lease:
        body = lease.paced(BytesBody(bytes(10 * LEAST_BYTES)))
        for _ in range(2):
            assert sum(len(block) for block in body.blocks()) == body.size
    assert buckets.total == 2 * body.size


def test_who_waits_hears_that_the_claim_is_lost() -> None:
    wanted = threading.Event()
    wanted.set()
    pace = Throttle(Counting(wait=3600.0), lambda _: 65_536).pace(AGENT)
    with Lease(wanted.is_set, 0.3, pace=pace) as lease:
        threading.Timer(0.5, wanted.clear).start()
        with pytest.raises(LeaseLost):
            lease.moved(1)


def test_a_lease_without_a_pace_does_not_wait() -> None:
    with Lease(lambda: True, 30) as lease:
        lease.moved(10**12)
        assert lease.block_bytes == BLOCK_BYTES
