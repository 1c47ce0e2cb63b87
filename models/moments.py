"""Times, as documents and sentences say them: in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(moment: datetime | None) -> str | None:
    """A time for programs, as ISO 8601 has it."""
    return moment.astimezone(UTC).isoformat() if moment else None


def clock(moment: datetime, now: datetime) -> str:
    """A time for people; the day too, where it is not the day of `now`."""
    there, here = moment.astimezone(UTC), now.astimezone(UTC)
    day = "" if there.date() == here.date() else f"{there:%Y-%m-%d} "
    return f"{day}{there:%H:%M:%S} UTC"
