"""`transfer.reconcile`: what differs between the books and Storage is counted, by the clock."""

from __future__ import annotations

import structlog
from celery import shared_task
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.heartbeat import beat
from models.reconcile import counts
from models.rounds import enter_round, is_due
from tasks.base import FleetTask
from tasks.fleet import fleet

NAME = "reconcile"
LOCK = 0x4152474F5359424B  # "ARGOSYBK": one comparison at a time, however many beats there are

log = structlog.get_logger(__name__)


@shared_task(bind=True, base=FleetTask, name="transfer.reconcile")
def reconcile(_self: FleetTask) -> None:
    """Compare the books with Storage, and enter the counts as a round. Changes nothing else.

    `argosy reconcile` says what they are of.
    """
    fleet().transact(_compare)


def _compare(session: Session) -> None:
    """In one transaction: one that dies leaves nothing, and its lock goes with it."""
    settings = fleet().settings
    if not session.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
        return
    if not is_due(session, NAME, settings.reconcile_seconds):
        return
    buckets = (settings.bucket, settings.persistent_bucket)
    found = counts(lambda look: look(session), buckets, older_than=settings.reconcile_hours * 3600)
    enter_round(session, NAME, dict(found))
    beat(session, NAME)
    log.info("books.compared", **found)
