"""`transfer.reassemble`: the end of a transfer, under the task id of whoever asked for it."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import shared_task
from celery.exceptions import Ignore

from models import ENDED, Continuation, Kind, Transfer
from tasks.assemble import finish
from tasks.base import OwedTask
from tasks.claims import PutBack
from tasks.ended import Ended
from tasks.fleet import fleet
from tasks.lease import LeaseLost
from tasks.messages import send_continuation
from tasks.process import after_steps
from tasks.spools import elsewhere


@shared_task(bind=True, base=OwedTask, name="transfer.reassemble")
def reassemble(self: OwedTask, transfer_id: str) -> Ended:
    """Complete the transfer and record its result; or record how it ended before."""
    identity = UUID(transfer_id)
    caller = _require_caller(UUID(self.request.id), identity)
    structlog.contextvars.bind_contextvars(transfer_id=transfer_id)
    transfer = fleet().transact(lambda session: session.get_one(Transfer, identity))
    self.request.acting_for = caller.agent_id or transfer.agent_id
    _hand_on(caller, transfer)
    try:
        ended = finish(identity, self.worker, takeover=self.redelivered)
    except (PutBack, LeaseLost) as reason:
        raise Ignore(type(reason).__name__) from None
    if ended is None:
        raise Ignore("carried on by others")
    return after_steps(self, ended, caller)


def _hand_on(caller: Continuation, transfer: Transfer) -> None:
    """Raise Ignore for a file that is to get its name in a spool that this worker has not."""
    spool = elsewhere(fleet().settings, transfer.path)
    if spool and transfer.kind == Kind.DOWNLOAD and transfer.state not in ENDED:
        send_continuation(caller, spool)
        raise Ignore(f"its file is in spool {spool}")


def _require_caller(task_id: UUID, transfer_id: UUID) -> Continuation:
    """Only a caller that the row knows may have the outcome."""
    caller = fleet().transact(lambda session: session.get(Continuation, task_id))
    if caller is None or caller.transfer_id != transfer_id:
        raise Ignore("nobody waits for this transfer under this task id")
    return caller
