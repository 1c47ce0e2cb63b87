"""Times, as documents and sentences say them: in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session


def iso(at: datetime | None) -> str | None:
    """A time for programs, as ISO 8601 has it."""
    return at.astimezone(UTC).isoformat() if at else None


def clock(at: datetime, now: datetime) -> str:
    """A time for people; the day too, where it is not the day of `now`."""
    there, here = at.astimezone(UTC), now.astimezone(UTC)
    day = "" if there.date() == here.date() else f"{there:%Y-%m-%d} "
    return f"{day}{there:%H:%M:%S} UTC"


def moment(session: Session) -> datetime:
    """What the database's clock says now: it is the same for every worker."""
    now: datetime = session.scalars(select(func.clock_timestamp())).one()
    return now
