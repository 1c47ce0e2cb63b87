"""`transfer.plan`: a transfer whose request was lost on its way is carried on from its row."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import shared_task

from argosy.errors import Error
from models import Transfer
from tasks.base import FleetTask
from tasks.carry import carry
from tasks.fleet import fleet

log = structlog.get_logger(__name__)


@shared_task(bind=True, base=FleetTask, name="transfer.plan")
def plan(self: FleetTask, transfer_id: str) -> None:
    """Do what the request's own task would have done; the caller is told by a continuation."""
    identity = UUID(transfer_id)
    transfer = fleet().transact(lambda session: session.get_one(Transfer, identity))
    self.request.acting_for = transfer.agent_id
    try:
        carry(identity, self.worker, takeover=self.redelivered)
    except Error as error:
        log.info("transfer.not_planned", code=error.code)
