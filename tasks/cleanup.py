"""`transfer.cleanup`: what a failed or cancelled transfer left is removed."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from tasks.base import FleetTask
from tasks.clean import clean


@shared_task(bind=True, base=FleetTask, name="transfer.cleanup")
def cleanup(_self: FleetTask, transfer_id: str) -> None:
    """Abort its multipart uploads, delete its partial object or file."""
    clean(UUID(transfer_id))
