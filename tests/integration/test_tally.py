"""Running totals of the audit: exact at every look, whatever commits when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

import models.tally
from argosy.errors import BY_CODE
from models import Event, Round
from models.database import make_engine, make_sessions
from models.sums import COUNTED, HANDED_BACK, OTHER, SIZES, Happened, Sums, size_class
from models.tally import NAME, Tally, tell
from models.transitions import record
from tests.deployment import Deployment, until
from worker.families import MOST

CODE = "storage_unavailable"


@contextmanager
def session_of(deployment: Deployment) -> Iterator[Session]:
    engine = make_engine(deployment.settings.operator_url)
    with make_sessions(engine)() as session:
        yield session
    engine.dispose()


def put_back(session: Session, reason: str = f"{CODE}: away") -> None:
    session.execute(select(Round.id).limit(1).with_for_update())
    record(session, "chunk.put_back", detail={"number": 1, "reason": reason})
    session.flush()


def told(deployment: Deployment) -> float:
    sums = deployment.transact(tell)
    assert sums is not None
    return sums.counts.get("retries", {}).get(("chunk", CODE), 0)


def kept(deployment: Deployment) -> Tally:
    def read(session: Session) -> Tally:
        row = session.scalars(select(Round).where(Round.name == NAME)).one()
        return Tally.of(row.counts or {})

    return deployment.transact(read)


def test_an_event_that_commits_late_is_counted_once(deployment: Deployment) -> None:
    before = told(deployment)
    with session_of(deployment) as late:
        record(late, "chunk.put_back", detail={"number": 1, "reason": f"{CODE}: late"})
        late.flush()
        number = late.scalar(select(Event.id).order_by(Event.id.desc()).limit(1))
        deployment.transact(put_back)
        assert number is not None
        assert [told(deployment) for _ in range(4)] == [before + 1] * 4
        assert kept(deployment).after < number
        late.commit()
    assert [told(deployment) for _ in range(4)] == [before + 2] * 4

    def is_taken_in() -> bool:  # not while another transaction is older
        return told(deployment) == before + 2 and kept(deployment).after > number

    until(is_taken_in, what="the sums to take it in")


def test_two_that_look_at_once_keep_one_count(deployment: Deployment) -> None:
    before = told(deployment)
    with session_of(deployment) as one, session_of(deployment) as other:
        deployment.transact(put_back)
        sums = [tell(one), tell(other)]
        one.commit()
        other.commit()
    assert [each and each.counts["retries"]["chunk", CODE] for each in sums] == [before + 1] * 2
    assert told(deployment) == before + 1


def test_a_long_past_is_read_in_steps(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = told(deployment)
    deployment.transact(lambda session: [put_back(session) for _ in range(40)])
    monkeypatch.setattr(models.tally, "STEP", 5)
    monkeypatch.setattr(models.tally, "STEPS", 2)
    assert deployment.transact(tell) is None, "forty events are more than one look reads"
    found = until(lambda: deployment.transact(tell), what="the look that reads the last of them")
    looks = [found, *(deployment.transact(tell) for _ in range(3))]
    assert [each and each.counts["retries"]["chunk", CODE] for each in looks] == [before + 40] * 4


def test_labels_are_of_few_values() -> None:
    """Whatever stands in the audit: unknown codes are one, and sizes are of classes."""
    sums = Sums()
    for number in range(500):
        event = Happened("chunk.put_back", None, {"reason": f"code_{number}: x"})
        COUNTED[event.event](sums, event)
    assert sums.counts == {"retries": {("chunk", "other"): 500}}
    assert len({size_class(10**power) for power in range(16)}) == len(SIZES) + 1
    assert Sums.of(sums.document()) == sums
    assert 2 * len({*BY_CODE, OTHER, HANDED_BACK}) <= MOST, "a retry's code could be cut off"
