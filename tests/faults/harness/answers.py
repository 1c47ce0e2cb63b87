"""The results that callers see, read as they would, but past the proxies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis

from tests.faults.harness.asked import Answer, read_answer
from tests.faults.harness.world import World

_BATCH = 500


class Answers:
    """Celery's results in Valkey."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._redis: Any = redis.Redis.from_url(
            world.environment["RESULT_URL"], socket_timeout=3, socket_connect_timeout=1
        )

    def of(self, task_ids: Iterable[str]) -> dict[str, Answer]:
        """Those that there are. Raises RedisError while Valkey is away."""
        backend, wanted = self._world.app.backend, list(task_ids)
        found: dict[str, Answer] = {}
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            kept = self._redis.mget([backend.get_key_for_task(task_id) for task_id in batch])
            for task_id, document in zip(batch, kept, strict=True):
                answer = read_answer(backend.decode(document)) if document else None
                if answer:
                    found[task_id] = answer
        return found
