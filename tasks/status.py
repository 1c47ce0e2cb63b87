"""`transfer.status`: where a transfer is, and why it waits."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from sqlalchemy.orm import Session

from models import Agent
from tasks.control import ControlRequest, LookTask, look, own, status_of


@shared_task(bind=True, base=LookTask, name="transfer.status")
def status(self: LookTask, transfer: str) -> dict[str, Any]:
    """The status document of a transfer. Raises TransferNotFound."""
    return look(self, ControlRequest, _status, transfer=transfer)


def _status(session: Session, agent: Agent, request: ControlRequest) -> dict[str, Any]:
    return status_of(session, own(session, agent, request.transfer))
