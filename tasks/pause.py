"""`transfer.pause`: a transfer is held; what is stored stays."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from sqlalchemy.orm import Session

from models import Agent, control
from tasks.act import Entered, act
from tasks.control import ControlRequest, ControlTask, own, status_of
from tasks.turns import give_turns


@shared_task(bind=True, base=ControlTask, name="transfer.pause")
def pause(self: ControlTask, transfer: str) -> dict[str, Any]:
    """Hold a transfer until `transfer.unpause`; the result is its status document.

    Parts that are on their way arrive, no other begins; whoever waits for it goes
    on waiting. Raises TransferNotFound; InvalidState once all bytes have been moved.
    """
    document = act(self, ControlRequest, _pause, transfer=transfer)
    give_turns()  # what is held takes up no slot
    return document


def _pause(
    session: Session, agent: Agent, request: ControlRequest, entered: Entered
) -> dict[str, Any]:
    found = own(session, agent, request.transfer, to_change=True)
    if not entered.again:  # a message that came twice must not hold what went on since
        control.pause(session, found, agent.name)
    return status_of(session, found)
