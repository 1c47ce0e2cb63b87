"""`transfer.sweep`: files whose time has ended go. Beat runs it by the hour."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from celery import shared_task

from tasks.base import FleetTask
from tasks.messages import send_sweep
from tasks.sweeping import Sweep

SECONDS = 300
"""How long one message sweeps: a broker closes the channel of a message that takes 30 minutes."""


@shared_task(bind=True, base=FleetTask, name="transfer.sweep")
def sweep(self: FleetTask, ended_at: str | None = None, last: str | None = None) -> None:
    """Remove what is over, behind the file `last` whose time ended at `ended_at`.

    After some minutes another message goes on. Safe to run at any time, and twice at once.
    """
    after = (datetime.fromisoformat(ended_at), UUID(last)) if ended_at and last else None
    if more := Sweep(self.worker, seconds=SECONDS, after=after).run():
        send_sweep(more)
