"""A circuit breaker for Storage: while it is away nobody tries, but for one now and then.

That Storage is away is noted in Valkey, for the whole fleet, once a look at it has failed too:
one object that Storage cannot give, or one lost connection, says nothing about all others. Work
that needs Storage then goes back into its rows at once. Where Valkey is away there is no breaker.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError

from argosy.errors import Error, StorageUnavailable
from argosy.settings import FleetSettings
from argosy.storage.pool import PoolSettings
from argosy.storage.s3 import ObjectStore

log = structlog.get_logger(__name__)

AWAY = "argosy:storage:away"
"""Key: Storage is away. It ends by itself where nobody has looked for a long time."""
REST = "argosy:storage:rest"
"""Key: somebody looks at Storage, or has just looked, and nobody else does."""
TURN = "argosy:storage:turn"
"""Key: when the last of those that wait has its turn, in seconds since 1970."""

AWAY_SECONDS = 600
REST_SECONDS = (3.0, 6.0)
LOOK_SECONDS = 15
"""A look takes no longer than that; if its process dies, another one may look then."""
IMPATIENT = PoolSettings(connect=3, read=5, write=5, wait=3)
JITTER_SECONDS = (1.0, 10.0)
LONGEST_WAIT_SECONDS = 600.0
VALKEY_SECONDS = 1.0
WITHOUT_VALKEY_SECONDS = 5.0
"""How long Valkey is not asked after it gave no answer."""

_NEXT_TURN = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local last = tonumber(redis.call('GET', KEYS[1]) or '0')
local turn = math.max(now, last) + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.6f', turn), 'EX', 86400)
return string.format('%.6f', turn - now)
"""


class Away(Exception):
    """Storage is away, and was not tried; the work may come again in `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__("Storage is away: the work waits until it is back.")
        self.wait = wait


class Breaker:
    """What one process knows of it. `look` is one request to Storage, which raises Error."""

    def __init__(self, settings: FleetSettings, look: Callable[[], object]) -> None:
        self._settings = settings
        self._look = look
        self._watching = 0
        self._ask_again_at = 0.0

    def check(self) -> None:
        """Raise Away while Storage is; one at a time, now and then, looks whether it is back."""
        if self._is_open() and not (self._may_look() and self._is_back()):
            raise Away(self._wait())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Have requests in here give up once Storage is away: their work can wait in its rows."""
        self._watching += 1
        try:
            yield
        finally:
            self._watching -= 1

    def heard(self, error: Error, _pause: float = 0) -> None:
        """A request has failed and is to be repeated. Raises its error, where that is no use."""
        if not (isinstance(error, StorageUnavailable) and error.away):
            return
        if not self._is_open():
            if self._answers() or not self._note():
                return
            log.warning("storage.away", error=error.message)
        if self._watching:
            raise error

    def _is_open(self) -> bool:
        return bool(self._valkey(lambda keys: keys.exists(AWAY)))

    def _may_look(self) -> bool:
        return bool(self._valkey(lambda keys: keys.set(REST, 1, nx=True, ex=LOOK_SECONDS)))

    def _is_back(self) -> bool:
        if not self._answers():
            self._note()
            return False
        log.info("storage.back")
        self._valkey(lambda keys: keys.delete(AWAY, REST))
        return True

    def _answers(self) -> bool:
        try:
            self._look()
        except StorageUnavailable as error:
            return not error.away
        except Error:  # it has an opinion, so it is there
            return True
        return True

    def _note(self) -> bool:
        """Tell the fleet; False where Valkey is away."""
        rest = round(1000 * _between(REST_SECONDS))
        noted = self._valkey(
            lambda keys: keys.set(AWAY, 1, ex=AWAY_SECONDS) and keys.set(REST, 1, px=rest)
        )
        return bool(noted)

    def _wait(self) -> float:
        """Seconds, with jitter: the more there is that waits, the further it is spread out."""
        step = 1 / self._settings.recovery_per_second
        answer = self._valkey(lambda keys: keys.eval(_NEXT_TURN, 1, TURN, str(step)))
        turn = min(float(answer or 0), LONGEST_WAIT_SECONDS)
        return turn * _between((0.5, 1.5)) + _between(JITTER_SECONDS)

    def _valkey(self, ask: Callable[[Any], Any]) -> Any:
        """What Valkey answers; None while it is away."""
        if time.monotonic() < self._ask_again_at:
            return None
        try:
            return ask(self._keys)
        except (RedisError, OSError) as error:
            log.warning("breaker.blind", error=type(error).__name__)
            self._ask_again_at = time.monotonic() + WITHOUT_VALKEY_SECONDS
            return None

    @cached_property
    def _keys(self) -> Any:
        return Redis.from_url(
            self._settings.result_url,
            socket_timeout=VALKEY_SECONDS,
            socket_connect_timeout=VALKEY_SECONDS,
        )


def look_at(store: ObjectStore, bucket: str) -> None:
    """Ask Storage for an object that need not be there. Raises ObjectNotFound, as a rule."""
    store.head(bucket, "argosy-is-it-there")


def _between(limits: tuple[float, float]) -> float:
    return random.uniform(*limits)  # noqa: S311  jitter, no secret
