"""What a request's own task does: take the transfer as far as one worker should."""

from __future__ import annotations

from uuid import UUID

from celery.exceptions import Ignore
from sqlalchemy.orm import Session

from models import State, Transfer
from models.transitions import claim
from tasks.assemble import assemble, finish
from tasks.chunk import move, take_chunk
from tasks.claims import PutBack
from tasks.ended import Ended
from tasks.fleet import fleet
from tasks.lease import LeaseLost
from tasks.plan import PLANNING, plan


def carry(claimed: Transfer | None, transfer: Transfer, worker: str, *, takeover: bool) -> Ended:
    """Plan a transfer that is claimed for it; if it is small move and verify it too.

    Returns its outcome. Raises Ignore when others carry it on: its result is then recorded by
    `transfer.reassemble` under the same task id. Raises the error it ended with.
    """
    try:
        ended = _carry(claimed, transfer, worker, takeover=takeover)
    except (PutBack, LeaseLost) as reason:
        raise Ignore(type(reason).__name__) from None
    if ended is None:
        raise Ignore("carried on by others")
    return ended


def _carry(
    claimed: Transfer | None, transfer: Transfer, worker: str, *, takeover: bool
) -> Ended | None:
    if claimed:
        started = plan(claimed)
    elif transfer.state == State.MOVING and transfer.part_count == 1:
        # The worker that moved this small file may be gone with its message.
        started = take_chunk(transfer.id, 1, worker, takeover=takeover)
    else:
        return finish(transfer.id, worker, takeover=takeover)
    if started is None:
        return None
    moving, chunk = started
    # What is put together of parts, be it one, needs their ETags: `finish` reads them.
    stored = move(moving, chunk, finisher=None if moving.upload_id else worker)
    if stored.taken is not None:
        return assemble(stored.taken)
    return finish(transfer.id, worker, takeover=takeover)


def take(
    session: Session, transfer_id: UUID, worker: str, *, takeover: bool
) -> tuple[Transfer | None, Transfer]:
    """The transfer, and again if it is to be planned and is claimed for that now."""
    seconds = fleet().settings.lease_seconds
    claimed = claim(
        session, transfer_id, PLANNING, lease_seconds=seconds, worker=worker, takeover=takeover
    )
    return claimed, claimed or session.get_one(Transfer, transfer_id)
