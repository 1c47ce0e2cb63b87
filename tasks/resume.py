"""`transfer.resume`: whatever nobody holds is sent again. Beat runs it every few seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import Continuation, Lane
from models.continuations import (
    due_assemblies,
    due_cleanups,
    due_continuations,
    due_plans,
    first_callers,
)
from models.derivatives import waiting_for
from models.due_chunks import due_chunks, due_windows, expired_leases
from models.heartbeat import beat
from models.pins import drop_stale
from tasks import measures
from tasks.base import FleetTask
from tasks.fleet import fleet
from tasks.messages import send_chunks, send_cleanup, send_continuation, send_plan
from tasks.turns import give_turns
from tasks.window import window_of

BATCH = 500
LOCK = 0x4152474F5359  # "ARGOSY": one resume at a time, however many beats there are

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Due:
    """What is to be sent again."""

    plans: Sequence[tuple[Continuation, Lane]] = ()
    chunks: Sequence[tuple[UUID, Lane, int]] = ()
    continuations: Sequence[Continuation] = ()
    cleanups: Sequence[UUID] = ()
    expired: int = 0
    """Leases that have run out, of the chunks among them."""


@shared_task(bind=True, base=FleetTask, name="transfer.resume")
def resume(_self: FleetTask) -> None:
    """Send again what seems lost: safe to run at any time, and twice at once."""
    give_turns()
    due = fleet().transact(_collect)
    for caller, lane in due.plans:
        send_plan(caller, lane)
    for transfer_id, lane, number in due.chunks:
        send_chunks(transfer_id, lane, [number])
    for continuation in due.continuations:
        send_continuation(continuation)
    for transfer_id in due.cleanups:
        send_cleanup(transfer_id)
    measures.expired_leases.inc(due.expired)
    sent = (due.plans, due.chunks, due.continuations, due.cleanups)
    names = ("plans", "chunks", "continuations", "cleanups")
    counts = {name: len(found) for name, found in zip(names, sent, strict=True) if found}
    if counts:
        log.info("transfer.resumed", **counts)


def _collect(session: Session) -> Due:
    if not session.scalar(select(func.pg_try_advisory_xact_lock(LOCK))):
        return Due()
    beat(session, "resume")
    settings = fleet().settings
    again = settings.republish_seconds
    drop_stale(session, pin_days=settings.pin_days, limit=BATCH)
    expired = expired_leases(session)
    return Due(
        first_callers(session, due_plans(session, limit=BATCH, republish_seconds=again)),
        [
            *due_chunks(session, limit=BATCH, republish_seconds=again),
            *due_windows(
                session,
                window=settings.window,
                window_of=window_of,
                limit=BATCH,
                republish_seconds=again,
            ),
        ],
        [
            *due_assemblies(session, limit=BATCH, republish_seconds=again),
            *due_continuations(session, limit=BATCH, republish_seconds=again),
            *waiting_for(session, limit=BATCH, republish_seconds=again),
        ],
        due_cleanups(session, limit=BATCH, republish_seconds=again),
        expired,
    )
