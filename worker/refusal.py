"""Refused messages: gone from the queue, and a row each in the audit.

This is the worker's main process, which forks: it keeps no connection to the
database. Rows wait in memory for at most a moment and are written together, so
that a flood of such messages costs little.
"""

from __future__ import annotations

import math
import time
from collections import deque
from datetime import UTC, datetime
from typing import Any

import structlog
from kombu import Message
from sqlalchemy.exc import SQLAlchemyError

from models import Outcome
from models.database import one_session
from models.transitions import record
from tasks.protocol import said

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.3
"""Between two writings."""
PAUSE_WITHOUT_DATABASE_SECONDS = 15.0
MOST_WAITING = 20_000
"""Refusals that are kept while the database is away; the log has them all."""
BATCH = 1000


class Refusals:
    """The refusals of one worker that the audit does not have yet."""

    def __init__(self, database_url: str, worker: str) -> None:
        self._url = database_url
        self._worker = worker
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MOST_WAITING)
        self._next = -math.inf

    def add(self, message: Message, reason: str, why: str) -> None:
        """Note one."""
        facts = _facts(message, reason, why)
        log.warning("message.refused", reason=reason, **facts["detail"])
        self._waiting.append(facts)

    def wait(self) -> float:
        """Seconds until they may be written; infinity when there are none."""
        return max(0.0, self._next - time.monotonic()) if self._waiting else math.inf

    def write(self) -> None:
        """Enter what waits, on a connection of its own; later, if the database is away."""
        try:
            while self._waiting:
                self._write(min(BATCH, len(self._waiting)))
            pause = PAUSE_SECONDS
        except SQLAlchemyError as error:
            log.warning("audit.away", error=type(error).__name__, waiting=len(self._waiting))
            pause = PAUSE_WITHOUT_DATABASE_SECONDS
        self._next = time.monotonic() + pause

    def _write(self, count: int) -> None:
        with one_session(self._url) as session:
            for facts in list(self._waiting)[:count]:
                record(
                    session,
                    "message.refused",
                    worker=self._worker,
                    outcome=Outcome.REFUSED,
                    **facts,
                )
        for _ in range(count):
            self._waiting.popleft()


def _facts(message: Message, reason: str, why: str) -> dict[str, Any]:
    headers = message.headers if isinstance(message.headers, dict) else {}
    detail = {
        "task": said(headers.get("task")),
        "queue": said((message.delivery_info or {}).get("routing_key")),
        "content_type": said(message.content_type),
        "bytes": len(message.body or b""),
        "why": why,
    }
    request_id = said(headers.get("id"))
    return {"at": datetime.now(UTC), "reason": reason, "request_id": request_id, "detail": detail}
