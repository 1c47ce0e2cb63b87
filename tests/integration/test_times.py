"""Moments as the database gives them, wherever it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from models.database import make_engine
from tests.deployment import Deployment


def test_clocks_that_are_put_back_change_no_moment(deployment: Deployment) -> None:
    """In Berlin two o'clock came twice that night."""
    engine = make_engine(deployment.settings.database_url)
    first, last = (
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    )
    with engine.connect() as connection:
        connection.execute(text("SET TIME ZONE 'Europe/Berlin'"))
        moments = {"first": first, "last": last}
        query = text("SELECT CAST(:first AS timestamptz), CAST(:last AS timestamptz)")
        [(told_first, told_last)] = connection.execute(query, moments)
    engine.dispose()
    assert (told_first, told_last) == (first, last)
    assert told_last - told_first == timedelta(hours=1)
