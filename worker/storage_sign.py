"""What the fleet's workers have told each other of Storage, in Valkey."""

from __future__ import annotations

from collections.abc import Iterator

import structlog
from prometheus_client.core import Metric
from redis import Redis
from redis.exceptions import RedisError

from argosy.settings import FleetSettings
from tasks.breaker import AWAY, VALKEY_SECONDS
from worker.looks import look

log = structlog.get_logger(__name__)


class StorageSign:
    """Whether Storage is away, as workers have found it; nothing of it while Valkey is."""

    def __init__(self, settings: FleetSettings) -> None:
        self._keys = Redis.from_url(
            settings.result_url,
            socket_timeout=VALKEY_SECONDS,
            socket_connect_timeout=VALKEY_SECONDS,
        )

    def collect(self) -> Iterator[Metric]:
        """Both metrics."""
        away: bool | None = None
        try:
            away = bool(self._keys.exists(AWAY))
        except (RedisError, OSError) as error:
            log.warning("metrics.blind", error=type(error).__name__)
        told = away is not None
        yield look("valkey_up", {(): told})
        if told:
            yield look("storage_away", {(): bool(away)})

    def close(self) -> None:
        """Let go of Valkey."""
        self._keys.close()
