"""`transfer.plan`: the first work on a transfer that has its turn, under its caller's task id."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import shared_task

from models import Continuation
from tasks.base import OwedTask
from tasks.carry import carry, take
from tasks.ended import Ended
from tasks.fleet import fleet
from tasks.process import after_steps


@shared_task(bind=True, base=OwedTask, name="transfer.plan")
def plan(self: OwedTask, transfer_id: str) -> Ended:
    """Plan a transfer, and carry it to its end if it is small; then the result is its outcome.

    A worker of the version before sends this under an id that nobody waits for: all who
    wait are then told by messages of their own.
    """
    identity = UUID(transfer_id)
    structlog.contextvars.bind_contextvars(transfer_id=transfer_id)
    caller, (claimed, transfer) = fleet().transact(
        lambda session: (
            session.get(Continuation, UUID(self.request.id)),
            take(session, identity, self.worker, takeover=self.redelivered),
        )
    )
    self.request.acting_for = (caller and caller.agent_id) or transfer.agent_id
    ended = carry(claimed, transfer, self.worker, takeover=self.redelivered)
    return after_steps(self, ended, caller) if caller else ended
