"""`transfer.cancel`: a transfer ends before its time; nothing of it is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from celery import shared_task
from sqlalchemy.orm import Session

from models import Agent, Continuation, control
from models.continuations import owed
from tasks.act import Entered, act
from tasks.control import ControlRequest, ControlTask, own, status_of
from tasks.messages import send_cleanup, send_continuation
from tasks.turns import give_turns

Cancelled = tuple[dict[str, Any], bool, Sequence[Continuation]]
"""The status document, whether it was this that ended the transfer, and who waits for it."""


@shared_task(bind=True, base=ControlTask, name="transfer.cancel")
def cancel(self: ControlTask, transfer: str) -> dict[str, Any]:
    """Cancel a transfer that has not ended; the result is its status document.

    Whoever waits for it gets TransferCancelled. Raises TransferNotFound;
    InvalidState for one that has ended otherwise.
    """
    document, ended, waiting = act(self, ControlRequest, _cancel, transfer=transfer)
    if ended:
        give_turns()
        send_cleanup(UUID(document["id"]))
        for continuation in waiting:
            send_continuation(continuation)
    return document


def _cancel(session: Session, agent: Agent, request: ControlRequest, entered: Entered) -> Cancelled:
    found = own(session, agent, request.transfer, to_change=True)
    ended = not entered.again and control.cancel(session, found, agent.name)
    waiting = owed(session, found.id) if ended else ()
    return status_of(session, found), ended, waiting
