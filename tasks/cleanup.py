"""`transfer.cleanup`: what a failed or cancelled transfer left is removed."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from models import Kind, Transfer
from tasks.base import FleetTask
from tasks.clean import clean
from tasks.fleet import fleet
from tasks.messages import send_cleanup
from tasks.spools import elsewhere


@shared_task(bind=True, base=FleetTask, name="transfer.cleanup")
def cleanup(_self: FleetTask, transfer_id: str) -> None:
    """Abort its multipart uploads, delete its partial object or file."""
    identity = UUID(transfer_id)
    transfer = fleet().transact(lambda session: session.get_one(Transfer, identity))
    spool = elsewhere(fleet().settings, transfer.path)
    if spool and transfer.kind == Kind.DOWNLOAD:
        send_cleanup(identity, spool)
    else:
        clean(identity)
