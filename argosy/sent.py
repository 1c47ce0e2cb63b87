"""Requests that this process has sent, until a worker has taken them: the fleet knows none yet."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import UTC, datetime
from uuid import UUID

from argosy.errors import TransferNotFound
from argosy.info import Status

MOST = 1000
"""How many are remembered: the oldest have been taken long ago."""


class Sent:
    """What was sent lately. Any number of threads may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[UUID, Status] = OrderedDict()

    def note(self, transfer: UUID, name: str, bucket: str, kind: str = "upload") -> None:
        """A request was sent to the broker, which has confirmed it."""
        status = Status(
            id=transfer,
            kind=kind,
            state="queued",
            name=name,
            bucket=bucket,
            path="",
            created_at=datetime.now(UTC),
            waits=("no worker has taken the request yet",),
        )
        with self._lock:
            self._known[transfer] = status
            while len(self._known) > MOST:
                self._known.popitem(last=False)

    def status_of(self, transfer: UUID) -> Status:
        """What can be said of a transfer that the fleet does not know. Raises TransferNotFound."""
        with self._lock:
            found = self._known.get(transfer)
        if found is None:
            raise TransferNotFound(
                f"The fleet knows no transfer {transfer} of this agent: check the id, or ask "
                "again once a worker has taken the request."
            )
        return found
