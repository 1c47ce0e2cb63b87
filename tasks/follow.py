"""What follows when a chunk is stored: the next one, the assembly, a word to the caller."""

from __future__ import annotations

import structlog
from celery import current_app
from redis.exceptions import RedisError

from models import Transfer
from models.continuations import first_caller
from models.storing import Stored
from tasks.fleet import fleet
from tasks.messages import send_chunks, send_continuation
from tasks.progress import store_progress

log = structlog.get_logger(__name__)


def follow(transfer: Transfer, stored: Stored) -> None:
    """Send what the ledger decided when it stored a chunk."""
    if stored.next_number is not None:
        send_chunks(transfer.id, transfer.lane, [stored.next_number])
    if stored.assembling:
        send_continuation(fleet().transact(lambda session: first_caller(session, transfer.id)))
    elif stored.progress_due:
        report_progress(transfer, stored.bytes_done)


def report_progress(transfer: Transfer, bytes_done: int) -> None:
    """Set the caller's result to PROGRESS. Progress is a courtesy: trouble is only logged."""
    meta = {"bytes_done": bytes_done, "bytes_total": transfer.size}
    try:
        store_progress(current_app.backend, str(transfer.id), meta)
    except (RedisError, OSError) as error:
        log.warning("progress.not_reported", error=type(error).__name__)
