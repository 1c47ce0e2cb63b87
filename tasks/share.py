"""`transfer.share`: let other agents reach a file or a folder of one's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from celery import shared_task
from sqlalchemy.orm import Session

from models import Access, Agent
from tasks import sharing
from tasks.act import Entered, act
from tasks.base import RequestTask
from tasks.requests import ShareRequest


@shared_task(bind=True, base=RequestTask, name="transfer.share")
def share(
    self: RequestTask,
    file: dict[str, Any],
    share_with: list[str],
    access: str = Access.READ,
    seconds: float | None = None,
) -> dict[str, Any]:
    """Grant `access` (`read`, or `write`: create, replace and delete too) to others.

    `file` is a reference, or `{"bucket": ..., "path": ...}`, a folder when the
    path ends with a slash. `share_with` names agents, or `role:reader` and its
    like. The grant ends after `seconds`, and no later than the file. The result
    is `file` with its grants.
    """
    return act(
        self,
        ShareRequest,
        _share,
        file=file,
        share_with=share_with,
        access=access,
        seconds=seconds,
    )


def _share(
    session: Session, agent: Agent, request: ShareRequest, entered: Entered
) -> dict[str, Any]:
    if entered.again:  # a message that came twice must not undo what was revoked since
        return sharing.with_grants(session, request.file)
    ends = datetime.now(UTC) + timedelta(seconds=request.seconds) if request.seconds else None
    sharing.require_there(session, agent, request.place)
    sharing.share(
        session,
        agent,
        request.place,
        request.share_with,
        request_id=entered.id,
        access=request.access,
        ends=ends,
    )
    return sharing.with_grants(session, request.file)
