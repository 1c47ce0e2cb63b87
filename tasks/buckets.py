"""Token buckets of bytes: one in Valkey that the whole fleet shares, one that a process has alone.

Who takes bytes is told how long to wait until they may move. They are taken at once all the
same, so that whoever comes later waits behind; nobody asks twice, and nobody starves. What is
kept of a bucket is one moment: when everything that was taken will have moved, at its rate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.retry import Retry

BURST_SECONDS = 1.0
"""What may move at once after a rest, in seconds of the rate."""
LONGEST_SECONDS = 300.0
"""No fleet is that far behind: the server's clock went back, and the bucket begins anew."""
ANSWER_SECONDS = 1.0
"""How long Valkey may take to answer; a transfer does not wait for it longer."""

_TAKE = """
local time = redis.call('TIME')
local now, wait = time[1] * 1000000 + time[2], 0
for number, key in ipairs(KEYS) do
    local moved = tonumber(redis.call('GET', key) or 0)
    if moved < now or moved > now + ARGV[3] then
        moved = now
    end
    moved = moved + math.ceil(ARGV[1] * 1000000 / ARGV[3 + number])
    redis.call('SET', key, string.format('%.0f', moved), 'PX', math.ceil((moved - now) / 1000))
    wait = math.max(wait, moved - ARGV[2] - now)
end
return {wait, now}
"""
"""Times in microseconds of the server's clock. A key expires when its bucket is full again."""


class SharedBuckets:
    """Buckets in Valkey, by their names. Any process may take from them."""

    def __init__(self, client: Redis) -> None:
        self._take = client.register_script(_TAKE)

    @classmethod
    def at(cls, url: str) -> SharedBuckets:
        """Those of a server, which is asked once more only where a connection was stale."""
        again = Retry(NoBackoff(), 1, supported_errors=(Disconnected,))
        client = Redis.from_url(
            url, socket_timeout=ANSWER_SECONDS, socket_connect_timeout=ANSWER_SECONDS, retry=again
        )
        return cls(client)

    def take(self, count: int, rates: Mapping[str, int]) -> float:
        """Take so many bytes from each bucket, whose rates these are, in bytes a second.

        Returns the seconds until they may move. Raises RedisError, OSError.
        """
        wait, _ = self.take_at(count, rates)
        return wait / 1_000_000

    def take_at(self, count: int, rates: Mapping[str, int]) -> tuple[int, int]:
        """The same in microseconds, and when it was by the server's clock."""
        keys = [f"argosy:{{rate}}:{name}" for name in rates]  # all in one slot of a cluster
        burst, longest = int(BURST_SECONDS * 1e6), int(LONGEST_SECONDS * 1e6)
        wait, now = self._take(keys, [count, burst, longest, *rates.values()])
        return int(wait), int(now)


class OwnBuckets:
    """The same in the memory of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._moved: dict[str, float] = {}

    def take(self, count: int, rates: Mapping[str, int]) -> float:
        """As the shared ones'."""
        now, wait = self._clock(), 0.0
        self._moved = {name: at for name, at in self._moved.items() if at > now}
        for name, rate in rates.items():
            moved = max(self._moved.get(name, now), now) + count / rate
            self._moved[name] = moved
            wait = max(wait, moved - BURST_SECONDS - now)
        return wait
