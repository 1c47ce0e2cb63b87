"""Token buckets in a real Valkey: what is granted in any time, to however many takers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from local.servers.valkey import Valkey
from tasks.buckets import BURST_SECONDS, LONGEST_SECONDS, OwnBuckets, SharedBuckets

KB = 1000
SECOND = 1_000_000


@dataclass(frozen=True)
class Grant:
    """So many bytes, which may move from a moment on: microseconds of the server's clock."""

    at: int
    count: int


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    data = tmp_path_factory.mktemp("valkey")
    data.chmod(0o711)
    server = Valkey(data, uuid4().hex, uuid4().hex)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def buckets(valkey: Valkey) -> SharedBuckets:
    return SharedBuckets.at(valkey.url(0))


@pytest.fixture
def client(valkey: Valkey) -> Redis:
    found = Redis.from_url(valkey.url(0))
    found.flushall()
    return found


def take(buckets: SharedBuckets, count: int, rates: dict[str, int]) -> Grant:
    wait, now = buckets.take_at(count, rates)
    return Grant(now + wait, count)


def most_over(grants: Sequence[Grant], rate: int) -> float:
    """By how many bytes the worst window exceeds the rate x its length.

    For every window from one grant to another; a window that is longer has more room.
    """
    ordered = sorted(grants, key=lambda one: one.at)
    sums = [0, *accumulate(one.count for one in ordered)]
    worst, least = 0.0, float("inf")
    for number, one in enumerate(ordered):
        allowed = rate * one.at / SECOND
        least = min(least, sums[number] - allowed)
        worst = max(worst, sums[number + 1] - allowed - least)
    return worst


def test_a_rest_gives_a_burst_and_no_more(buckets: SharedBuckets, client: Redis) -> None:
    rate = 100 * KB
    waits = [buckets.take(10 * KB, {"fleet": rate}) for _ in range(20)]
    assert waits[:10] == [0.0] * 10
    assert 0 < waits[-1] <= 1.0  # 200 KB at 100 KB/s, of which a second's worth came at once
    assert 0 < client.pttl("argosy:{rate}:fleet") <= 2000


@pytest.mark.parametrize("rate", [64 * 1024, 5_000_000, 2_000_000_000])
def test_no_window_has_more_than_the_rate_and_a_burst(
    valkey: Valkey, client: Redis, rate: int
) -> None:
    """Eight takers at once, each with a connection of its own."""
    slab = rate // 20

    def taker(_: int) -> list[Grant]:
        own = SharedBuckets.at(valkey.url(0))
        return [take(own, slab, {"fleet": rate}) for _ in range(100)]

    with ThreadPoolExecutor(8) as threads:
        grants = [one for grants in threads.map(taker, range(8)) for one in grants]
    assert len(grants) == 800
    assert most_over(grants, rate) <= rate * BURST_SECONDS * 1.0001
    span = max(one.at for one in grants) - min(one.at for one in grants)
    moved = rate * (span / SECOND + BURST_SECONDS)
    assert sum(one.count for one in grants) >= 0.99 * moved - slab  # and nobody waits for nothing


def test_the_tighter_of_two_decides(buckets: SharedBuckets, client: Redis) -> None:
    rates = {"fleet": 1_000 * KB, "slow": 10 * KB}
    grants = [take(buckets, KB, rates) for _ in range(50)]
    assert most_over(grants, rates["slow"]) <= rates["slow"] * BURST_SECONDS * 1.0001
    # Another agent goes past those who wait: only what has moved is off the fleet's bucket.
    assert buckets.take(KB, {"fleet": rates["fleet"], "quick": 500 * KB}) == 0.0


def test_agents_share_the_fleets_rate(buckets: SharedBuckets, client: Redis) -> None:
    fleet = 100 * KB
    grants = {
        name: [take(buckets, 5 * KB, {"fleet": fleet, name: 80 * KB}) for _ in range(40)]
        for name in ("one", "two")
    }
    for own in grants.values():
        assert most_over(own, 80 * KB) <= 80 * KB * BURST_SECONDS * 1.0001
    both = [one for own in grants.values() for one in own]
    assert most_over(both, fleet) <= fleet * BURST_SECONDS * 1.0001


def test_a_changed_rate_counts_from_now_on(buckets: SharedBuckets, client: Redis) -> None:
    for _ in range(30):
        slow = buckets.take(10 * KB, {"one": 100 * KB})
    assert slow > 1
    assert buckets.take(10 * KB, {"one": 100_000 * KB}) <= slow + 0.01
    assert buckets.take(10 * KB, {"one": 10 * KB}) > slow - 1


def test_a_server_whose_clock_went_back(buckets: SharedBuckets, client: Redis) -> None:
    seconds, micros = client.time()
    ahead = (seconds + int(LONGEST_SECONDS) + 60) * SECOND + micros
    client.set("argosy:{rate}:fleet", ahead)
    assert buckets.take(10 * KB, {"fleet": 100 * KB}) == 0.0
    assert client.pttl("argosy:{rate}:fleet") <= 1000


def test_the_script_is_loaded_again(buckets: SharedBuckets, client: Redis) -> None:
    buckets.take(1, {"fleet": KB})
    client.script_flush()
    buckets.take(1, {"fleet": KB})


def test_agents_do_not_reach_the_buckets(valkey: Valkey, client: Redis, tmp_path: Path) -> None:
    agents = Redis.from_url(valkey.agents_url)
    for act in (
        lambda: agents.set("argosy:{rate}:fleet", "0"),
        lambda: agents.get("argosy:{rate}:fleet"),
        lambda: agents.delete("argosy:{rate}:fleet"),
    ):
        with pytest.raises(NoPermissionError):
            act()


def test_the_buckets_of_one_process_keep_to_the_same_rates() -> None:
    now = [100.0]
    own = OwnBuckets(lambda: now[0])
    grants = []
    for _ in range(400):
        wait = own.take(5 * KB, {"fleet": 100 * KB, "one": 50 * KB})
        grants.append(Grant(int((now[0] + wait) * SECOND), 5 * KB))
        now[0] += wait + 0.01 * (len(grants) % 3)
    assert most_over(grants, 50 * KB) <= 50 * KB * BURST_SECONDS * 1.0001
    now[0] += 3600
    assert own.take(50 * KB, {"one": 50 * KB}) == 0.0
