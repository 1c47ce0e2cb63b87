"""What follows when a chunk is stored: the next one, the assembly, a word to the caller."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import current_app
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import update
from sqlalchemy.orm import Session

from models import Continuation, State, Transfer
from models.continuations import to_assemble
from models.ledger import Stored
from tasks.fleet import fleet
from tasks.messages import send_chunks, send_continuation

log = structlog.get_logger(__name__)


def follow(transfer: Transfer, stored: Stored) -> None:
    """Send what the ledger decided when it stored a chunk."""
    if stored.next_number is not None:
        send_chunks(transfer.id, [stored.next_number])
    if stored.assembling:
        send_continuation(fleet().transact(lambda session: to_assemble(session, transfer.id)))
    elif stored.progress_due:
        report_progress(transfer, stored.bytes_done)


def report_progress(transfer: Transfer, bytes_done: int) -> None:
    """Set the caller's result to PROGRESS. Progress is a courtesy: trouble is only logged."""
    meta = {"bytes_done": bytes_done, "bytes_total": transfer.size}
    try:
        current_app.backend.store_result(str(transfer.id), meta, "PROGRESS")
    except (RedisError, OperationalError, OSError) as error:
        log.warning("progress.not_reported", error=type(error).__name__)
        return
    fleet().transact(lambda session: _owe_again(session, transfer.id))


def _owe_again(session: Session, transfer_id: UUID) -> None:
    """If the transfer failed meanwhile, PROGRESS has covered its outcome: record that again."""
    session.execute(
        update(Continuation)
        .where(Continuation.task_id == transfer_id, Transfer.id == Continuation.transfer_id)
        .where(Transfer.state.in_((State.FAILED, State.CANCELLED)))
        .values(settled_at=None)
        .execution_options(synchronize_session=False)
    )
