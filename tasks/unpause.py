"""`transfer.unpause`: a transfer that is held goes on where it was."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from celery import shared_task
from sqlalchemy.orm import Session

from models import Agent, Continuation, control
from models.continuations import first_caller
from models.control import Resumed
from tasks.act import Entered, act
from tasks.control import ControlRequest, ControlTask, own, status_of
from tasks.fleet import fleet
from tasks.messages import send_chunks, send_continuation
from tasks.turns import give_turns
from tasks.window import window_of

GoesOn = tuple[dict[str, Any], Resumed, Continuation | None]
"""The status document, what is to be sent, and under whose task id it is assembled."""


@shared_task(bind=True, base=ControlTask, name="transfer.unpause")
def unpause(self: ControlTask, transfer: str) -> dict[str, Any]:
    """Have a paused transfer go on; the result is its status document.

    One that is not paused goes on anyway. Raises TransferNotFound; InvalidState
    for one that has ended.
    """
    document, resumed, caller = act(self, ControlRequest, _unpause, transfer=transfer)
    if resumed.planning:
        give_turns()
    send_chunks(UUID(document["id"]), resumed.lane, resumed.numbers)
    if resumed.assembling:
        send_continuation(caller)
    return document


def _unpause(session: Session, agent: Agent, request: ControlRequest, entered: Entered) -> GoesOn:
    found = own(session, agent, request.transfer, to_change=True)
    resumed = Resumed()
    if not entered.again:
        resumed = control.unpause(
            session,
            found,
            agent.name,
            window=window_of(session, found.agent_id),
            republish_seconds=fleet().settings.republish_seconds,
        )
    return status_of(session, found), resumed, first_caller(session, found.id)
