"""`transfer.forget`: what ended long ago goes from the books. Beat runs it by the hour."""

from __future__ import annotations

from celery import shared_task

from tasks.base import FleetTask
from tasks.forgetting import Forgetting, Place
from tasks.messages import send_forget

SECONDS = 300
"""How long one message forgets: a broker closes the channel of a message that takes 30 minutes."""


@shared_task(bind=True, base=FleetTask, name="transfer.forget")
def forget(_self: FleetTask, *after: str) -> None:
    """Remove what is older than the operator's `ARGOSY_HISTORY_DAYS`, behind what `after` names.

    After some minutes another message goes on. Safe to run at any time, and twice at once.
    """
    if more := Forgetting(SECONDS, Place.parse(after) if after else None).run():
        send_forget(more.words())
