"""A retention sweep's hold on files: claimed before anything is removed, ended when it is gone.

What is claimed goes: nothing can pin it any more, and where its sweep is killed the next one
claims it again, with a higher epoch. Only its agent, by storing it anew before that, keeps it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from models.base import NO_SYNC
from models.derivative import Derivative
from models.following import forget_files
from models.grants import revoke_of
from models.overdue import Overdue, Position, Terms, look, page, position
from models.retention import lengthen
from models.tombstone import EXPIRED, told, tombstone
from models.transfer import State, Transfer
from models.transitions import expire

RENEWED = "file.renewed"
"""The event of a file that was stored anew, and so stays."""


@dataclass(frozen=True)
class Batch:
    """Some files past their time: those that are `claimed`, with the row of each, and the rest.

    `last` is where the next batch begins; None where there is nothing left to look at.
    """

    claimed: Mapping[UUID, Overdue] = field(default_factory=dict)
    rows: Mapping[UUID, Transfer] = field(default_factory=dict)
    pinned: int = 0
    live: int = 0
    renewed: int = 0
    last: Position | None = None


def claim_batch(
    session: Session, terms: Terms, after: Position | None, *, lease_seconds: float, worker: str
) -> Batch:
    """Claim the next files that are to go, behind `after`.

    The rows are locked first, and only then is looked what keeps them: who pins a file
    holds its row, so that each sees what the other has done.
    """
    free = or_(Transfer.lease_until.is_(None), Transfer.lease_until < func.now())
    locked = session.execute(
        page(terms, after).where(free).with_for_update(of=Transfer, skip_locked=True)
    ).all()
    if not locked:
        return Batch()
    found = look(session, terms, [row.id for row in locked])
    doomed = {one.transfer: one for one in found if one.act == "remove"}
    rows = _claim(session, doomed, lease_seconds, worker)
    return Batch(
        claimed={file: doomed[file] for file in rows},
        rows=rows,
        pinned=sum(one.is_pinned for one in found),
        live=sum(one.is_live and not one.is_pinned for one in found),
        renewed=sum(_renew(session, one) for one in found if one.act == "renew"),
        last=position(locked[-1]),
    )


def _claim(
    session: Session, files: Collection[UUID], lease_seconds: float, worker: str
) -> Mapping[UUID, Transfer]:
    rows = session.scalars(
        update(Transfer)
        .where(Transfer.id.in_(list(files)), Transfer.state == State.COMPLETED)
        .values(
            epoch=Transfer.epoch + 1,
            lease_until=func.now() + timedelta(seconds=lease_seconds),
            worker=worker,
        )
        .returning(Transfer)
        .execution_options(**NO_SYNC)
    ).all()
    return {row.id: row for row in rows}


def _renew(session: Session, one: Overdue) -> bool:
    transfer = session.get_one(Transfer, one.transfer, populate_existing=True)
    until = one.renewed_until
    return until is not None and lengthen(session, transfer, until, event=RENEWED)


def hold_on(session: Session, rows: Collection[Transfer], lease_seconds: float) -> frozenset[UUID]:
    """Prolong a claim; returns those of the files that still are claimed so.

    With 0 seconds they are left to the next sweep, and stay claimed until then: what was asked
    of Storage may still happen.
    """
    kept = session.scalars(
        update(Transfer)
        .where(_still(rows))
        .values(lease_until=func.now() + timedelta(seconds=lease_seconds))
        .returning(Transfer.id)
        .execution_options(**NO_SYNC)
    )
    return frozenset(kept)


def finish(
    session: Session, rows: Collection[Transfer], gone: Mapping[UUID, Overdue], by: str
) -> frozenset[UUID]:
    """Enter as expired the files of which nothing is left; returns those that were.

    Grants on them and what was derived of them go from the books. A file for which something
    was begun to be derived meanwhile stays: the next sweep finds that too.
    """
    still = select(Transfer.id).where(_still(rows)).order_by(Transfer.id).with_for_update()
    held = set(session.scalars(still)) & gone.keys()
    ended = held - _late(session, {file: gone[file] for file in held})
    ours = [row for row in rows if row.id in ended]
    if not ours:
        return frozenset()
    readers = revoke_of(session, ours[0].bucket, {row.id: row.object_name for row in ours})
    forget_files(session, ended)
    stones = {row.id: _stone(gone[row.id], by, readers.get(row.id, ())) for row in ours}
    return expire(session, ours, stones, {file: told(stone) for file, stone in stones.items()})


def _stone(gone: Overdue, by: str, readers: Sequence[str]) -> dict[str, Any]:
    return tombstone(EXPIRED, by=by, objects=len(gone.objects), size=gone.freed, readers=readers)


def _late(session: Session, files: Mapping[UUID, Overdue]) -> frozenset[UUID]:
    """Files with something derived that was not there when they were claimed."""
    rows = session.execute(
        select(Derivative.transfer_id, Derivative.object_name).where(
            Derivative.transfer_id.in_(files), Derivative.object_name.is_not(None)
        )
    )
    return frozenset(
        row.transfer_id for row in rows if files[row.transfer_id].is_new(row.object_name)
    )


def _still(rows: Collection[Transfer]) -> ColumnElement[bool]:
    """Those that are claimed as they were."""
    claims = [(row.id, row.epoch) for row in rows]
    return tuple_(Transfer.id, Transfer.epoch).in_(claims) & (Transfer.state == State.COMPLETED)
