"""The books put right where a comparison has found them wrong: rows, and nothing in Storage.

Each function takes one page of differences, locks the rows that it will change, looks again, and
changes those that still differ and that nothing keeps. It returns their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from argosy.errors import ObjectNotFound
from models.chunk import Chunk
from models.derivative import Derivative, Making
from models.difference import Difference, Differing
from models.following import forget_all
from models.grant import Grant
from models.grants import REVOKED, revoke_of
from models.pin import Pin
from models.reconcile import DERIVATIVES, FILES, GRANTS, LEASES, PINS, Book, Page, look_again
from models.tombstone import MISSING, told, tombstone
from models.transfer import State, Transfer
from models.transitions import advance, record

BY = "reconcile"
"""Who did it, in tombstones and in the audit."""

_NO_SYNC = {"synchronize_session": False}


def expire_files(session: Session, page: Page, older_than: float) -> set[str]:
    """End the rows of files whose object is gone, with their derivatives, grants and pins."""
    lost = select(Transfer).where(Transfer.id.in_(_ids(page)), Transfer.state == State.COMPLETED)
    rows = session.scalars(lost.order_by(Transfer.id).with_for_update()).all()
    still = _still(session, page, older_than, Differing.TRANSFER_WITHOUT_OBJECT)
    return {str(row.id) for row in rows if str(row.id) in still and _expire(session, row)}


def _expire(session: Session, transfer: Transfer) -> bool:
    had = revoke_of(session, transfer.bucket, {transfer.id: transfer.object_name})
    stone = tombstone(MISSING, by=BY, objects=0, size=0, readers=had.get(transfer.id, ()))
    completed = transfer.ended_at  # that stays as it was
    ended = advance(
        session, transfer, State.EXPIRED, detail=told(stone), tombstone=stone, ended_at=completed
    )
    if ended is None:
        return False
    for path in (transfer.object_name, *forget_all(session, transfer.id)):
        session.execute(delete(Pin).where(Pin.bucket == transfer.bucket, Pin.path == path))
    return True


def fail_derivatives(session: Session, page: Page, older_than: float) -> set[str]:
    """Have derivatives whose object is gone be known as failed, so that they can be made again."""
    made = select(Derivative.id).where(
        Derivative.id.in_(_ids(page)), Derivative.state == Making.MADE
    )
    session.execute(made.order_by(Derivative.id).with_for_update()).all()
    still = _still(session, page, older_than, Differing.DERIVATIVE_WITHOUT_OBJECT)
    failed = session.scalars(
        update(Derivative)
        .where(Derivative.id.in_([UUID(key) for key in still]), Derivative.state == Making.MADE)
        .values(
            state=Making.FAILED,
            error_code=ObjectNotFound.code,
            reason="Its object is gone from Storage.",
            updated_at=func.now(),
        )
        .returning(Derivative.id)
        .execution_options(**_NO_SYNC)
    )
    return {str(one) for one in failed}


def drop_leases(session: Session, page: Page, older_than: float) -> set[str]:
    """Take claims back that nobody holds any more: what they were of is due at once."""
    return {
        one.key for one in page.differences if _drop_lease(session, one.key.split("/"), older_than)
    }


def _drop_lease(session: Session, key: Sequence[str], older_than: float) -> bool:
    """By the key of argosy.stale_leases: what it is of, its id, and a chunk's number."""
    model, column = _LEASED[key[0]]
    row = column == UUID(key[1])
    if model is Chunk:
        row = and_(row, Chunk.number == int(key[2]))
    dropped = session.execute(
        update(model)
        .where(row, model.lease_until <= func.now() - timedelta(seconds=older_than))
        .values(lease_until=None, republish_at=func.now())
        .execution_options(**_NO_SYNC)
    )
    return bool(dropped.rowcount)  # type: ignore[attr-defined]


_LEASED: Mapping[str, Any] = MappingProxyType(
    {
        "transfer": (Transfer, Transfer.id),
        "chunk": (Chunk, Chunk.transfer_id),
        "derivative": (Derivative, Derivative.id),
    }
)


def revoke_grants(session: Session, page: Page, older_than: float) -> set[str]:
    """Take back the grants on files that are gone."""
    gone = _delete(session, Grant.id, page, older_than)
    for one in gone:
        record(session, REVOKED, object=one.place, detail={"grant": one.key, "by": BY})
    return {one.key for one in gone}


def drop_pins(session: Session, page: Page, older_than: float) -> set[str]:
    """Take back the pins on files that are gone."""
    return {one.key for one in _delete(session, Pin.id, page, older_than)}


def _delete(
    session: Session, column: InstrumentedAttribute[UUID], page: Page, older_than: float
) -> list[Difference]:
    locked = select(column).where(column.in_(_ids(page))).order_by(column).with_for_update()
    session.execute(locked).all()
    still = {one.key: one for one in look_again(session, page, older_than=older_than)}
    gone = delete(column.class_).where(column.in_([UUID(key) for key in still])).returning(column)
    return [still[str(one)] for one in session.scalars(gone.execution_options(**_NO_SYNC))]


def _ids(page: Page) -> list[UUID]:
    return [UUID(one.key) for one in page.differences]


def _still(session: Session, page: Page, older_than: float, kind: Differing) -> set[str]:
    again = look_again(session, page, older_than=older_than)
    return {one.key for one in again if one.kind == kind and not one.kept}


Amend = Callable[[Session, Page, float], set[str]]
AMENDS: Mapping[Book, Amend] = MappingProxyType(
    {
        FILES: expire_files,
        DERIVATIVES: fail_derivatives,
        LEASES: drop_leases,
        GRANTS: revoke_grants,
        PINS: drop_pins,
    }
)
"""What puts the rows of a book right."""
