"""The end of a file's time: held where it is while something relies on it, or moved to later."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from models.grants import end_later
from models.moments import iso
from models.transfer import FILES, State, Transfer
from models.transitions import record


def hold(session: Session, files: Collection[UUID]) -> Sequence[Transfer]:
    """The rows of these files, which no sweep claims before the transaction ends.

    Many may hold one at once. In one order, so that two that hold the same never wait for
    each other.
    """
    if not files:
        return ()
    return session.scalars(
        select(Transfer)
        .where(Transfer.id.in_(sorted(files)), Transfer.kind.in_(FILES))
        .order_by(Transfer.id)
        .with_for_update(read=True)
        .execution_options(populate_existing=True)
    ).all()


def lengthen(session: Session, transfer: Transfer, ends: datetime, *, event: str) -> bool:
    """Have a file's time end later, and that of the grants which end with it; never sooner.

    The reference says so too. `event` is what the audit calls it. False where the file is
    gone, or its time is as long already.
    """
    before = transfer.expires_at
    if before is None:  # it does not end
        return False
    reference = {**(transfer.reference or {}), "expires_at": iso(ends)}
    moved = session.scalars(
        update(Transfer)
        .where(Transfer.id == transfer.id, Transfer.state == State.COMPLETED)
        .where(Transfer.expires_at < ends)
        .values(
            expires_at=ends,
            lease_until=None,
            reference=reference if transfer.reference else Transfer.reference,
        )
        .returning(Transfer.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if moved is None:
        return False
    end_later(session, transfer.id, before, ends)
    record(session, event, transfer, detail={"from": iso(before), "until": iso(ends)})
    return True
