"""PROGRESS in the result backend, which must never cover an outcome.

Celery reads a result and then writes it: between the two another worker may
have recorded the end. So here one script of Valkey does both at once.
"""

from __future__ import annotations

from typing import Any

from celery.backends.redis import RedisBackend

_UNLESS_ENDED = """
local now = redis.call('GET', KEYS[1])
if now then
    local status = cjson.decode(now)['status']
    if status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED' then
        return 0
    end
end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""


def store_progress(backend: RedisBackend, task_id: str, meta: dict[str, Any]) -> bool:
    """Record and announce PROGRESS; False when the task has an outcome already.

    Raises redis.RedisError when the backend is away: progress is not waited for.
    """
    result = backend.encode(
        {
            "status": "PROGRESS",
            "result": meta,
            "traceback": None,
            "children": [],
            "date_done": None,
            "task_id": task_id,
        }
    )
    key = backend.get_key_for_task(task_id)
    seconds = int(backend.expires or 86400)
    return bool(backend.client.eval(_UNLESS_ENDED, 1, key, result, seconds))
