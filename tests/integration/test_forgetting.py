"""What ended long ago is forgotten: what goes, what stays, and rounds that meet or die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from models import Act, Continuation, DeadLetter, Derivative, Pin, Round
from models.forgetting import BATCH, forget_transfers
from tasks import forgetting
from tasks.forgetting import Forgetting, Place
from tasks.leaving import leaving
from tasks.messages import INTERNAL
from tasks.seal import SEAL_HEADER, seal
from tests.deployment import AgentInTest, Deployment, until
from tests.integration.expiring import live
from tests.integration.past import (
    LONG_AGO,
    ago,
    enter,
    enter_many,
    execute,
    left_of,
    left_to,
    tombstone,
)
from tests.integration.reconciling import fleet_of
from worker.bootstrap import bring_up_database


@pytest.fixture(autouse=True)
def fleet(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A round in this process, as a worker makes it; its rounds go afterwards."""
    here = fleet_of(deployment)
    monkeypatch.setattr(forgetting, "fleet", lambda: here)
    yield
    Forgetting().run()  # what a test has left
    deployment.query("DELETE FROM argosy.rounds WHERE name = 'forget' RETURNING id")


# What goes

GO: dict[str, dict[str, Any]] = {
    "a download": {},
    "what failed": {"kind": "upload", "state": "failed", "cleaned_at": ago(401)},
    "what was cancelled": {"kind": "copy", "state": "cancelled", "cleaned_at": ago(401)},
    "a file that is gone": {"kind": "upload", "state": "expired", "tombstone": tombstone(401)},
    "a claim that is over": {"lease_until": ago(1)},
}


@pytest.mark.parametrize("case", GO)
def test_what_ended_long_ago_goes(deployment: Deployment, agent: AgentInTest, case: str) -> None:
    old = enter(deployment, agent, **GO[case])
    settled = Continuation(task_id=old, transfer_id=old, request={}, settled_at=ago(401))
    deployment.transact(lambda session: session.add(settled))
    assert left_of(deployment, old) == (1, 1, 1)
    assert Forgetting().run() is None
    assert left_of(deployment, old) == (0, 0, 0)


def test_a_round_says_what_went(deployment: Deployment, agent: AgentInTest) -> None:
    enter_many(deployment, agent, 3)
    made = Forgetting()
    made.run()
    [row] = deployment.query("SELECT * FROM argosy.rounds WHERE name = 'forget'")
    assert (row.counts["transfers"], row.counts["events"]) == (3, 3)
    assert row.ended_at is not None
    assert row.counts == vars(made.counts)


def test_beats_message_has_a_worker_do_it(deployment: Deployment, agent: AgentInTest) -> None:
    old = enter(deployment, agent)
    deployment.app.send_task(
        "transfer.forget",
        exchange=INTERNAL,
        routing_key="argosy.upkeep",
        headers={SEAL_HEADER: seal(deployment.settings, "transfer.forget", ())},
        declare=[],
    )
    until(lambda: left_of(deployment, old) == (0, 0, 0), what="its end")


def test_small_rows(deployment: Deployment, agent: AgentInTest) -> None:
    """The last round of each name says how things are, however old it is."""
    names = [uuid4().hex for _ in range(2)]

    def add(session: Any) -> None:
        for days in (402, 401, 1):
            act = Act(id=uuid4(), agent_id=agent.id, request_sha256=names[0], at=ago(days))
            letter = DeadLetter(
                fingerprint=uuid4().hex, queue=names[0], reason="expired", at=ago(days)
            )
            session.add_all([act, letter])
            session.add(Round(name=names[0], started_at=ago(days), ended_at=ago(days)))
        for days in (402, 401):
            session.add(Round(name=names[1], started_at=ago(days), ended_at=ago(days)))
            session.flush()

    deployment.transact(add)
    Forgetting().run()
    left = "SELECT at FROM argosy.acts WHERE request_sha256 = :name"
    assert len(deployment.query(left, name=names[0])) == 1
    assert (
        len(deployment.query("SELECT FROM argosy.dead_letters WHERE queue = :q", q=names[0])) == 1
    )
    for name in names:
        rows = deployment.query("SELECT id FROM argosy.rounds WHERE name = :name", name=name)
        assert len(rows) == 1, name
    deployment.query(
        "DELETE FROM argosy.rounds WHERE name = ANY (:names) RETURNING id", names=names
    )


# What stays

STAY: dict[str, dict[str, Any]] = {
    "a stored file": {"kind": "upload"},
    "a copy that is stored": {"kind": "copy"},
    # Of which a worker is to clean up only later: that would be an event of now.
    "what may have left something": {"kind": "upload", "state": "failed", "republish_at": ago(-1)},
    "what ended since": {"ended_at": ago(399)},
    "what was cleaned since": {"state": "failed", "cleaned_at": ago(399)},
    "a younger tombstone": {"kind": "upload", "state": "expired", "tombstone": tombstone(399)},
    "what is on its way": {"state": "paused", "ended_at": None},
    "what somebody is at": {"lease_until": ago(-1)},
}


@pytest.mark.parametrize("case", STAY)
def test_what_stays(deployment: Deployment, agent: AgentInTest, case: str) -> None:
    """With its events, though they are old: what is told of a transfer is whole."""
    stays, goes = enter(deployment, agent, **STAY[case]), enter(deployment, agent)
    Forgetting().run()
    assert (left_of(deployment, stays), left_of(deployment, goes)) == ((1, 1, 1), (0, 0, 0))
    execute(
        deployment,
        "UPDATE argosy.transfers SET state = 'cancelled', cleaned_at = now() WHERE id = :id",
        id=stays,
    )


Need = Callable[[Deployment, AgentInTest, UUID, str, str], Any]
NEEDS: dict[str, Need] = {
    "a transfer that does it over again": lambda deployment, agent, old, bucket, _: live(
        deployment, agent, "download", bucket, "elsewhere", retry_of=old
    ),
    "a download": lambda deployment, agent, _, bucket, path: live(
        deployment, agent, "download", bucket, path
    ),
    "a copy": lambda deployment, agent, _, bucket, path: live(
        deployment, agent, "copy", bucket, "there", copied_from={"bucket": bucket, "path": path}
    ),
    "a message": lambda deployment, agent, _, bucket, path: deployment.transact(
        lambda session: session.add(
            Pin(message_id=uuid4(), agent_id=agent.id, bucket=bucket, path=path)
        )
    ),
    # Sent again tomorrow only: a worker that finds it due today tells the caller, and settles it.
    "a caller": lambda deployment, _agent, old, _bucket, _path: deployment.transact(
        lambda session: session.add(
            Continuation(task_id=old, transfer_id=old, request={}, republish_at=ago(-1))
        )
    ),
    "something derived": lambda deployment, _agent, old, _bucket, path: deployment.transact(
        lambda session: session.add(
            Derivative(
                transfer_id=old, kind="x", parameters="", state="made", object_name=f"{path}.x"
            )
        )
    ),
}
OVER = (
    "UPDATE argosy.transfers SET state = 'cancelled', cleaned_at = now() "
    "WHERE agent_id = :agent AND state = 'paused'",
    "DELETE FROM argosy.pins WHERE agent_id = :agent",
    "UPDATE argosy.continuations SET settled_at = now() FROM argosy.transfers "
    "WHERE transfers.id = transfer_id AND transfers.agent_id = :agent",
    "DELETE FROM argosy.derivatives USING argosy.transfers "
    "WHERE transfers.id = transfer_id AND transfers.agent_id = :agent",
)


@pytest.mark.parametrize("case", NEEDS)
def test_what_something_refers_to_stays_as_long(
    deployment: Deployment, agent: AgentInTest, case: str
) -> None:
    old, goes = enter(deployment, agent), enter(deployment, agent)
    bucket, path = deployment.settings.bucket, f"{agent.id}/{old}/file.bin"
    NEEDS[case](deployment, agent, old, bucket, path)
    Forgetting().run()
    assert (left_of(deployment, old), left_of(deployment, goes)) == ((1, 1, 1), (0, 0, 0))
    for statement in OVER:
        execute(deployment, statement, agent=agent.id)
    Forgetting().run()
    assert left_of(deployment, old) == (0, 0, 0)


@pytest.fixture
def for_ever(deployment: Deployment) -> Iterator[None]:
    """A deployment that forgets nothing."""
    changed = ["function argosy.history_days(): changed"]
    kept = deployment.settings.model_copy(update={"history_days": 0})
    assert bring_up_database(kept) == changed
    yield
    assert bring_up_database(deployment.settings) == changed


@pytest.mark.usefixtures("for_ever")
def test_nothing_goes_where_all_is_kept(deployment: Deployment, agent: AgentInTest) -> None:
    enter_many(deployment, agent, 3)
    assert Forgetting().run() is None
    execute(
        deployment, "SELECT argosy.forget_events('-infinity', 0, 1000)"
    )  # also of whoever asks for it
    assert left_to(deployment, agent) == (3, 3)


def test_the_fleet_has_no_young_event_forgotten(deployment: Deployment, agent: AgentInTest) -> None:
    young = "INSERT INTO argosy.events (name, agent_id, at) VALUES ('x', :agent, :at)"
    for days in (399, 401):
        execute(deployment, young, agent=agent.id, at=ago(days))
    ask = text("SELECT gone FROM argosy.forget_events('-infinity', 0, 1000000)")
    with fleet_of(deployment).session() as session:
        session.execute(text("SET LOCAL argosy.is_forgetting = 'on'"))
        assert session.scalars(ask).one() >= 1
    names = "SELECT at FROM argosy.events WHERE agent_id = :agent AND name = 'x'"
    [left] = deployment.query(names, agent=agent.id)
    assert left.at > ago(400)


# Rounds that stop, meet and die


def test_a_round_that_is_late_says_where_to_go_on(
    deployment: Deployment, agent: AgentInTest
) -> None:
    enter_many(deployment, agent, BATCH + 50)
    kept = enter(deployment, agent, kind="upload")
    place = Forgetting(seconds=0).run()
    assert place is not None
    seen = []
    while place:
        seen.append(place)
        place = Forgetting(seconds=0, after=Place.parse(place.words())).run()
    assert len(set(seen)) == len(seen)
    assert left_to(deployment, agent) == (1, 1)
    assert left_of(deployment, kept) == (1, 1, 1)


def test_a_worker_that_has_to_go_stops_between_two_batches(
    deployment: Deployment, agent: AgentInTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_many(deployment, agent, BATCH + 50)
    with monkeypatch.context() as told:
        told.setattr(leaving, "now", True)
        place = Forgetting().run()
    assert place is not None
    assert Forgetting(after=place).run() is None
    assert left_to(deployment, agent) == (0, 0)


def test_what_one_has_locked_another_leaves_out(deployment: Deployment, agent: AgentInTest) -> None:
    enter_many(deployment, agent, BATCH + 50)
    days = LONG_AGO.days - 1
    fleet = fleet_of(deployment)
    with fleet.session() as one, fleet.session() as other:
        first, second = (forget_transfers(each, agent.id, days, None) for each in (one, other))
        assert (first.gone, second.gone) == (BATCH, 50)
        one.rollback()
        other.rollback()
    assert left_to(deployment, agent) == (BATCH + 50, BATCH + 50)


def test_two_at_once_share_the_work(deployment: Deployment, agent: AgentInTest) -> None:
    enter_many(deployment, agent, 6 * BATCH)
    both = [Forgetting() for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(Forgetting.run, both)) == [None, None]
    Forgetting().run()  # what one had locked, and the other had left out
    assert sum(one.counts.transfers for one in both) == 6 * BATCH
    assert left_to(deployment, agent) == (0, 0)


ROUND = "from tasks.forgetting import Forgetting; Forgetting().run()"


def test_a_round_that_is_killed_leaves_whole_batches(deployment: Deployment) -> None:
    """It waits for a chunk that somebody holds, and dies; another round does the rest."""
    first, second = sorted((deployment.add_agent() for _ in range(2)), key=lambda one: one.id)
    enter_many(deployment, first, 3)
    held = enter(deployment, second)
    enter_many(deployment, second, 3)

    def while_it_is_held(session: Any) -> None:
        locked = "SELECT number FROM argosy.chunks WHERE transfer_id = :id FOR UPDATE"
        session.execute(text(locked), {"id": held})
        environment = {**os.environ, **deployment.environment}
        process = subprocess.Popen([sys.executable, "-c", ROUND], env=environment)
        try:
            until(lambda: _waits(deployment), what="its wait for the chunk")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(30)

    deployment.transact(while_it_is_held)
    assert left_to(deployment, first)[0] == 0
    assert left_to(deployment, second)[0] == 4
    assert left_of(deployment, held) == (1, 1, 1)
    until(lambda: _left_after_a_round(deployment, second) == (0, 0), what="the end of the rest")


def _left_after_a_round(deployment: Deployment, owner: AgentInTest) -> tuple[int, int]:
    """What the dead one had locked is free once PostgreSQL has noticed its end."""
    Forgetting().run()
    return left_to(deployment, owner)


def _waits(deployment: Deployment) -> bool:
    return bool(
        deployment.query(
            "SELECT pid FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND state = 'active' AND query LIKE 'DELETE FROM%'"
        )
    )
