"""`transfer.unshare`: take back what was shared."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from sqlalchemy.orm import Session

from models import Agent
from tasks import sharing
from tasks.act import Entered, act
from tasks.base import RequestTask
from tasks.requests import UnshareRequest


@shared_task(bind=True, base=RequestTask, name="transfer.unshare")
def unshare(self: RequestTask, file: dict[str, Any], share_with: list[str]) -> dict[str, Any]:
    """Take every access to exactly this file or folder from those who are named.

    What they have by another grant (a folder's, their role's) stays. The result
    is `file` with the grants that are left.
    """
    return act(self, UnshareRequest, _unshare, file=file, share_with=share_with)


def _unshare(
    session: Session, agent: Agent, request: UnshareRequest, entered: Entered
) -> dict[str, Any]:
    if not entered.again:
        sharing.unshare(session, agent, request.place, request.share_with, request_id=entered.id)
    return sharing.with_grants(session, request.file)
