"""Transfers that are on their way."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.transfer import ENDED, Transfer


def unfinished(session: Session, *, limit: int) -> Sequence[Transfer]:
    """Those that have not ended, the oldest first.

    No index has them all: it reads the table, which is why who watches should not
    look too often.
    """
    query = select(Transfer).where(Transfer.state.not_in(sorted(ENDED)))
    return session.scalars(query.order_by(Transfer.created_at, Transfer.id).limit(limit)).all()
