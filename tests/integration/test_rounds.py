"""Rounds of `transfer.reconcile`: however many clocks there are, each is made once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from models.rounds import latest
from tasks import reconcile
from tests.deployment import Deployment
from tests.integration.reconciling import fleet_of


@pytest.fixture(autouse=True)
def fleet(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The task, in this process, as a worker has it; its rounds go afterwards."""
    here = fleet_of(deployment)
    monkeypatch.setattr(reconcile, "fleet", lambda: here)
    yield
    deployment.query("DELETE FROM argosy.rounds WHERE name = 'reconcile' RETURNING id")


def _rounds(deployment: Deployment) -> int:
    [[many]] = deployment.query("SELECT count(*) FROM argosy.rounds WHERE name = 'reconcile'")
    return int(many)


def test_a_second_clock_changes_nothing(deployment: Deployment) -> None:
    reconcile.reconcile.run()
    assert _rounds(deployment) == 1
    reconcile.reconcile.run()
    assert _rounds(deployment) == 1
    long_ago = timedelta(days=1)
    deployment.query(
        "UPDATE argosy.rounds SET started_at = started_at - :by RETURNING id", by=long_ago
    )
    reconcile.reconcile.run()
    assert _rounds(deployment) == 2


def test_two_at_once_make_one(deployment: Deployment) -> None:
    def while_it_is_made(session: Session) -> None:
        session.execute(select(func.pg_advisory_xact_lock(reconcile.LOCK)))
        reconcile.reconcile.run()
        assert _rounds(deployment) == 0

    deployment.transact(while_it_is_made)
    reconcile.reconcile.run()
    assert _rounds(deployment) == 1


def test_a_round_says_when_it_began_and_ended(deployment: Deployment) -> None:
    def look(session: Session) -> bool:
        found = latest(session, "reconcile")
        assert found is not None
        assert found.ended_at is not None
        assert found.counts is not None
        return found.started_at < found.ended_at <= session.scalars(_NOW).one()

    reconcile.reconcile.run()
    assert deployment.transact(look)


_NOW = text("SELECT clock_timestamp()")
