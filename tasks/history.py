"""`transfer.history`: an agent's transfers, the newest first."""

from __future__ import annotations

from typing import Annotated, Any

from celery import shared_task
from pydantic import Field
from sqlalchemy.orm import Session

from models import Agent, Role
from models.history import newest
from models.status import explain_all
from tasks.control import LookTask, TransferId, look, own
from tasks.fleet import fleet
from tasks.requests import Request

MOST = 200


class HistoryRequest(Request):
    """`transfer.history`."""

    limit: Annotated[int, Field(ge=1, le=MOST)] = 50
    before: TransferId | None = None


@shared_task(bind=True, base=LookTask, name="transfer.history")
def history(self: LookTask, limit: int = 50, before: str | None = None) -> list[dict[str, Any]]:
    """Status documents of the agent's transfers, or of all for an admin.

    `before` is the id of the last one of the page before. At most 200 at once.
    """
    return look(self, HistoryRequest, _history, limit=limit, before=before)


def _history(session: Session, agent: Agent, request: HistoryRequest) -> list[dict[str, Any]]:
    last = own(session, agent, request.before) if request.before else None
    whose = None if agent.role == Role.ADMIN else agent.id
    page = newest(session, agent_id=whose, before=last, limit=request.limit)
    return explain_all(session, page, window=fleet().settings.window)
