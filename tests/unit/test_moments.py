"""Times in documents and sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from models.moments import clock, iso

NOW = datetime(2026, 3, 1, 12, 0, 3, tzinfo=UTC)
EAST = timezone(timedelta(hours=5))


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (NOW + timedelta(seconds=7), "12:00:10 UTC"),
        ((NOW + timedelta(seconds=7)).astimezone(EAST), "12:00:10 UTC"),
        (NOW - timedelta(days=1), "2026-02-28 12:00:03 UTC"),
        (NOW + timedelta(hours=12), "2026-03-02 00:00:03 UTC"),
    ],
)
def test_the_day_is_said_where_it_is_another(moment: datetime, said: str) -> None:
    assert clock(moment, NOW) == said
    assert clock(moment, NOW.astimezone(EAST)) == said


def test_programs_are_told_utc() -> None:
    assert iso(NOW.astimezone(EAST)) == "2026-03-01T12:00:03+00:00"
    assert iso(None) is None
