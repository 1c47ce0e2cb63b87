"""`transfer.unpin`: a message has arrived, or never will, and keeps nothing any more."""

from __future__ import annotations

from celery import shared_task
from sqlalchemy.orm import Session

from models import Agent, pins
from models.transitions import record
from tasks.act import Entered, act
from tasks.control import ControlTask
from tasks.requests import UnpinRequest


@shared_task(bind=True, base=ControlTask, name="transfer.unpin")
def unpin(self: ControlTask, message: str, sender: str | None = None) -> int:
    """Take back the pins of a message that the agent sent or got; an admin, of any.

    With `sender`, an agent's name, only those that this agent made. The result is how
    many there were: none of somebody else's, and none the second time.
    """
    return act(self, UnpinRequest, _unpin, message=message, sender=sender)


def _unpin(session: Session, agent: Agent, request: UnpinRequest, entered: Entered) -> int:
    gone = pins.unpin(session, request.message, agent, request.sender)
    if gone:
        detail = {"message": str(request.message), "files": gone}
        record(session, "pin.removed", agent_id=agent.id, request_id=str(entered.id), detail=detail)
    return gone
