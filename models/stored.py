"""What the books say of the bytes in Storage, file by file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from models.derivative import Derivative, Making
from models.transfer import FILES, State, Transfer

PAGE = 500
"""Rows in memory at once."""
FIRST = UUID(int=0)
_Row = tuple[Any, ...]


@dataclass(frozen=True)
class Stored:
    """An object that should be there, with the size and SHA-256 that its bytes should have.

    `id` is that of its row, a transfer or a derivative.
    """

    id: UUID
    bucket: str
    path: str
    size: int
    sha256: str
    at: datetime


def files_after(
    session: Session, buckets: Sequence[str], after: UUID, *, older_than: float
) -> list[Stored]:
    """The next files in the order of their ids, as their objects lie in Storage."""
    return _read(session, _files(buckets, older_than).where(Transfer.id > after), Transfer.id)


def derivatives_after(
    session: Session, buckets: Sequence[str], after: UUID, *, older_than: float
) -> list[Stored]:
    """The next derivatives, likewise."""
    query = _derivatives(buckets, older_than).where(Derivative.id > after)
    return _read(session, query, Derivative.id)


def as_it_is(session: Session, one: Stored, buckets: Sequence[str]) -> Stored | None:
    """The same object as the books have it now; None where they no longer have it."""
    for query, row_id in (
        (_files(buckets, 0), Transfer.id),
        (_derivatives(buckets, 0), Derivative.id),
    ):
        if found := _read(session, query.where(row_id == one.id), row_id):
            return found[0]
    return None


def _files(buckets: Sequence[str], older_than: float) -> Select[*_Row]:
    size = func.coalesce(Transfer.stored_size, Transfer.size)
    sha256 = func.coalesce(Transfer.stored_sha256, Transfer.sha256)
    return (
        select(Transfer.id, Transfer.bucket, Transfer.object_name, size, sha256, Transfer.ended_at)
        .where(Transfer.state == State.COMPLETED, Transfer.kind.in_(sorted(FILES)))
        .where(Transfer.bucket.in_(buckets), sha256.is_not(None))
        .where(Transfer.ended_at <= func.now() - timedelta(seconds=older_than))
    )


def _derivatives(buckets: Sequence[str], older_than: float) -> Select[*_Row]:
    one = Derivative
    return (
        select(one.id, Transfer.bucket, one.object_name, one.size, one.sha256, one.updated_at)
        .join(Transfer, Transfer.id == one.transfer_id)
        .where(Transfer.state == State.COMPLETED, Transfer.bucket.in_(buckets))
        .where(one.state == Making.MADE, one.object_name.is_not(None), one.sha256.is_not(None))
        .where(one.updated_at <= func.now() - timedelta(seconds=older_than))
    )


def _read(
    session: Session, query: Select[*_Row], row_id: InstrumentedAttribute[UUID]
) -> list[Stored]:
    return [Stored(*row) for row in session.execute(query.order_by(row_id).limit(PAGE))]
