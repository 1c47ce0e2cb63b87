"""Sweeps that meet each other, a pin, a Storage that fails them, or their end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery.result import AsyncResult
from sqlalchemy.orm import Session

from argosy.errors import ObjectNotFound
from argosy.reference import FileReference
from models import State
from models.database import make_engine, make_sessions
from models.retention import hold
from models.sweep import Batch, claim_batch, finish, hold_on
from tasks import removal, sweeping, transfer
from tasks.leaving import leaving
from tests.conftest import RESULT_SECONDS
from tests.deployment import ARGOSY, Deployment, deployed, remote, until
from tests.integration.client.gate import Gate, Passing, answer, gate_to
from tests.integration.derivatives import Requester
from tests.integration.expiring import (
    Sweeping,
    events,
    let_expire,
    let_none_be_over,
    many,
    send_sweep,
    state_of,
    sweep,
    terms,
)
from tests.integration.reconciling import fleet_of

pytestmark = pytest.mark.skipif(remote(), reason="its rows of Storage have no objects")

FULL_BYTES = 30_000
"""Less than 500 names have, and more than 200."""
SHORT = {"ARGOSY_LEASE_SECONDS": "2", "ARGOSY_STORAGE_DEADLINE_SECONDS": "2"}
"""A claim that is soon over."""


@pytest.fixture(autouse=True)
def only_ours(deployment: Deployment) -> None:
    let_none_be_over(deployment)


@pytest.fixture
def owner(deployment: Deployment) -> Requester:
    return Requester(deployment.add_agent())


@pytest.fixture
def over(deployment: Deployment, owner: Requester) -> FileReference:
    """A file whose time has ended."""
    file = owner.store(b"over")
    let_expire(deployment, file.id)
    return file


@pytest.fixture
def gate(deployment: Deployment) -> Iterator[Gate]:
    with gate_to(deployment.settings.supabase_url) as made:
        yield made


def _is_removal(passing: Passing) -> bool:
    return passing.method == "DELETE" and "/object/" in passing.target


def _is_small(passing: Passing) -> bool:
    """Of fewer than 500 files."""
    return _is_removal(passing) and passing.length < FULL_BYTES


def _claim(deployment: Deployment, session: Session, seconds: float = 60) -> Batch:
    return claim_batch(session, terms(deployment), None, lease_seconds=seconds, worker="w")


def _claimed(deployment: Deployment, seconds: float = 60) -> Batch:
    return deployment.transact(lambda session: _claim(deployment, session, seconds))


def _refusal(asked: AsyncResult) -> str:
    with pytest.raises(ObjectNotFound) as caught:
        asked.get(timeout=RESULT_SECONDS)
    return caught.value.message


# Two at once


def test_two_sweeps_do_everything_once(deployment: Deployment, owner: Requester) -> None:
    files = many(deployment, owner.agent, 1200)
    with ThreadPoolExecutor(2) as pool:
        swept = list(pool.map(lambda _: sweep(deployment), range(2)))
    assert Counter(file for one in swept for file in one.ids) == Counter(files)
    assert sum(one.counts["removed"] for one in swept) == 1200
    assert deployment.objects(owner.agent) == []
    [row] = deployment.query(
        "SELECT count(*) AS events, count(DISTINCT transfer_id) AS files FROM argosy.events "
        "WHERE agent_id = :id AND name = 'transfer.expired'",
        id=owner.agent.id,
    )
    assert (row.events, row.files) == (1200, 1200)


def test_what_one_has_locked_another_leaves_out(deployment: Deployment, owner: Requester) -> None:
    many(deployment, owner.agent, 700)
    engine = make_engine(deployment.settings.operator_url)
    sessions = make_sessions(engine)
    with sessions.begin() as one, sessions.begin() as other:
        first, second = (_claim(deployment, session).claimed for session in (one, other))
        assert (len(first), len(second)) == (500, 200)
        assert first.keys().isdisjoint(second)
        one.rollback()
        other.rollback()
    engine.dispose()
    assert sweep(deployment).counts["removed"] == 700


def test_a_claim_that_was_taken_over_changes_nothing(
    deployment: Deployment, over: FileReference
) -> None:
    stale = _claimed(deployment, 0)
    taken = _claimed(deployment)
    assert taken.rows[over.id].epoch == stale.rows[over.id].epoch + 1

    def end(batch: Batch) -> tuple[frozenset[UUID], frozenset[UUID]]:
        rows = batch.rows.values()
        return deployment.transact(
            lambda session: (hold_on(session, rows, 60), finish(session, rows, batch.claimed, "w"))
        )

    assert end(stale) == (frozenset(), frozenset())
    assert state_of(deployment, over.id) == State.COMPLETED
    assert end(taken) == (frozenset({over.id}), frozenset({over.id}))
    assert end(taken) == (frozenset(), frozenset())
    assert len(events(deployment, over.id, "transfer.expired")) == 1


# A pin, a download, a copy and an extension


Ask = Callable[[Requester, FileReference, Deployment], AsyncResult]
ASKED: dict[str, Ask] = {
    "pin": lambda asks, file, _: asks.send(transfer.pin, str(uuid4()), [file.document()]),
    "extend": lambda asks, file, _: asks.send(transfer.extend, file.document()),
    "copy": lambda asks, file, _: asks.send(transfer.copy, file.document()),
    "download": lambda asks, file, deployment: asks.send(
        transfer.download, file.document(), str(deployment.spool / f"{uuid4()}.bin")
    ),
}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_claimed_cannot_be_kept(
    deployment: Deployment, owner: Requester, over: FileReference, name: str
) -> None:
    """Also once the claim is over: what its sweep has asked of Storage may still happen."""
    assert over.id in _claimed(deployment, 0).claimed
    said = _refusal(ASKED[name](owner, over, deployment))
    assert f"The time of {over.name} ended at" in said


@pytest.mark.parametrize("name", ASKED)
def test_what_comes_while_it_is_claimed_waits_for_that(
    deployment: Deployment, owner: Requester, over: FileReference, name: str
) -> None:
    def work(session: Session) -> AsyncResult:
        assert over.id in _claim(deployment, session).claimed
        asked = ASKED[name](owner, over, deployment)
        until(lambda: _waits(deployment), what="its wait for the row")
        return asked

    assert "is being removed" in _refusal(deployment.transact(work))


def _waits(deployment: Deployment) -> bool:
    return bool(deployment.query("SELECT pid FROM pg_locks WHERE NOT granted"))


@pytest.mark.parametrize("name", ["pin", "extend"])
def test_what_came_before_keeps_it(
    deployment: Deployment, owner: Requester, over: FileReference, name: str
) -> None:
    """Downloads and copies that are on their way: see test_sweep."""
    ASKED[name](owner, over, deployment).get(timeout=RESULT_SECONDS)
    assert over.id not in _claimed(deployment).claimed
    deployment.query("DELETE FROM argosy.pins WHERE path = :p RETURNING id", p=over.path)


def test_a_row_that_somebody_holds_is_left_out(deployment: Deployment, over: FileReference) -> None:
    """The pin is not there yet when the sweep looks, and must not be missed."""

    def work(session: Session) -> Batch:
        assert [row.id for row in hold(session, {over.id})] == [over.id]
        return _claimed(deployment)

    assert over.id not in deployment.transact(work).claimed


# A sweep that is killed


def _kill_at_removal(deployment: Deployment, gate: Gate, *, arrives: bool) -> None:
    """A sweep is killed while it waits for the answer; whether Storage has heard of it."""
    if arrives:
        gate.hold = _is_removal
    else:
        gate.fault = lambda passing: _kept_back(gate) if _is_removal(passing) else None
    sweeping = Sweeping(deployment, SUPABASE_URL=gate.url, **SHORT)
    until(lambda: any(_is_removal(one) for one in gate.passed), what="a removal on its way")
    if arrives:
        until(lambda: any(one.held for one in gate.passed), what="a removal that has arrived")
    sweeping.end(signal.SIGKILL)


def _kept_back(gate: Gate) -> int:
    gate.released.wait()
    return 0


@pytest.mark.parametrize("arrives", [True, False], ids=["removed", "not removed"])
def test_a_killed_sweep_loses_nothing(
    deployment: Deployment, owner: Requester, over: FileReference, gate: Gate, *, arrives: bool
) -> None:
    _kill_at_removal(deployment, gate, arrives=arrives)
    left = [] if arrives else [over.path]
    until(lambda: deployment.objects(owner.agent) == left, what="what Storage has done")
    assert "is being removed" in _refusal(ASKED["pin"](owner, over, deployment))
    row = deployment.transfer(str(over.id))
    assert (row.state, row.lease_until is not None) == (State.COMPLETED, True)
    until(lambda: sweep(deployment).ids == [str(over.id)], what="the next sweep")
    row = deployment.transfer(str(over.id))
    assert (row.state, row.lease_until, row.epoch) == (State.EXPIRED, None, 2)
    assert row.tombstone
    assert row.tombstone["objects"] == len(left)
    assert deployment.objects(owner.agent) == []
    assert len(events(deployment, over.id, "transfer.expired")) == 1


def test_an_interrupted_round_has_said_what_it_did(
    deployment: Deployment, owner: Requester, gate: Gate
) -> None:
    many(deployment, owner.agent, 700)
    gate.hold = _is_small
    sweeping = Sweeping(deployment, SUPABASE_URL=gate.url, **SHORT)
    until(lambda: any(one.held for one in gate.passed), what="the second batch")
    sweeping.end(signal.SIGINT)
    row = deployment.query("SELECT * FROM argosy.rounds WHERE name = 'sweep' ORDER BY id")[-1]
    assert (row.ended_at, row.counts["removed"]) == (None, 500)
    until(lambda: sweep(deployment).counts["removed"] == 200, what="the next sweep")
    assert deployment.objects(owner.agent) == []


def test_a_worker_that_has_to_go_stops_between_two_batches(
    deployment: Deployment, owner: Requester, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(deployment, owner.agent, 700)
    here = fleet_of(deployment)
    for module in (sweeping, removal):
        monkeypatch.setattr(module, "fleet", lambda: here)
    monkeypatch.setattr(leaving, "now", True)
    first = sweeping.Sweep("w")
    more = first.run()
    assert (more is not None, first.counts.removed) == (True, 500)
    second = sweeping.Sweep("w", after=more)
    second.run()
    assert second.counts.removed == 200
    assert deployment.objects(owner.agent) == []


# A Storage that fails it


def test_an_answer_that_is_lost(
    deployment: Deployment, owner: Requester, over: FileReference, gate: Gate
) -> None:
    gate.lose = _is_removal
    swept = sweep(deployment, SUPABASE_URL=gate.url, ARGOSY_STORAGE_ATTEMPTS="2")
    assert (swept.ids, swept.counts["objects"], swept.code) == ([str(over.id)], 1, 0)
    assert deployment.objects(owner.agent) == []


def test_a_batch_that_storage_fails(deployment: Deployment, owner: Requester, gate: Gate) -> None:
    """It is left, and said so; the others go; the next round takes it up at once."""
    many(deployment, owner.agent, 700)
    broken = answer(500, json.dumps({"statusCode": "500", "error": "x", "message": "x"}))
    gate.fault = lambda passing: broken if _is_removal(passing) and not _is_small(passing) else None
    swept = sweep(deployment, SUPABASE_URL=gate.url, ARGOSY_STORAGE_ATTEMPTS="2")
    assert (swept.counts["removed"], swept.counts["left"], swept.code) == (200, 500, 1)
    assert len(deployment.objects(owner.agent)) == 500
    assert sweep(deployment).counts["removed"] == 500
    assert deployment.objects(owner.agent) == []


def test_a_storage_that_is_away_ends_the_round(deployment: Deployment, owner: Requester) -> None:
    many(deployment, owner.agent, 1200)
    away = {"SUPABASE_URL": "http://127.0.0.1:9", "ARGOSY_STORAGE_ATTEMPTS": "1"}
    swept = sweep(deployment, **away)
    assert (swept.counts["removed"], swept.counts["left"]) == (0, 1000)
    assert sweep(deployment).counts["removed"] == 1200


def test_a_name_that_cannot_be_removed_keeps_no_other(
    deployment: Deployment, owner: Requester, over: FileReference
) -> None:
    bad = f"{owner.agent.id}/{over.id}/../x"
    deployment.query(
        "UPDATE argosy.transfers SET object_name = :bad, ended_at = now() + interval '1 day' "
        "WHERE id = :id RETURNING id",
        bad=bad,
        id=over.id,
    )
    deployment.query(
        "INSERT INTO storage.objects (bucket_id, name) VALUES (:bucket, :bad) RETURNING id",
        bucket=over.bucket,
        bad=bad,
    )
    others = [owner.store(b"x") for _ in range(4)]
    let_expire(deployment, *(file.id for file in others))
    swept = sweep(deployment)
    assert set(swept.ids) == {str(file.id) for file in others}
    assert swept.counts["left"] == 1


def test_something_derived_meanwhile(
    deployment: Deployment, owner: Requester, over: FileReference
) -> None:
    """What was not there when the file was claimed keeps its row until it is gone too."""
    batch = _claimed(deployment)
    folder = over.path.rpartition("/")[0]
    deployment.query(
        "INSERT INTO argosy.derivatives (transfer_id, kind, parameters, object_name) "
        "VALUES (:id, 'thumbnail', '{}', :name) RETURNING id",
        id=over.id,
        name=f"{folder}/derived/late.webp",
    )
    rows = batch.rows.values()
    assert not deployment.transact(lambda s: finish(s, rows, batch.claimed, "w"))
    deployment.transact(lambda session: hold_on(session, rows, 0))
    assert sweep(deployment).ids == [str(over.id)]


# Two beats


@pytest.fixture(scope="module")
def clocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of its own that sweeps every two seconds."""
    with deployed(tmp_path_factory.mktemp("clocked"), {"ARGOSY_SWEEP_SECONDS": "2"}) as made:
        yield made


@pytest.fixture
def second_beat(clocked: Deployment, tmp_path: Path) -> Iterator[subprocess.Popen[Any]]:
    environment = {**os.environ, **clocked.environment, "ARGOSY_STATE_DIR": str(tmp_path / "state")}
    process = subprocess.Popen(
        [ARGOSY, "beat"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    yield process
    process.terminate()
    process.wait(30)


def test_two_beats_do_everything_once(
    clocked: Deployment, second_beat: subprocess.Popen[Any]
) -> None:
    owner = clocked.add_agent()
    rounds = "SELECT count(*) AS n FROM argosy.rounds WHERE name = 'sweep'"
    until(lambda: clocked.query(rounds)[0].n >= 3, what="sweeps by the clock")
    assert second_beat.poll() is None
    many(clocked, owner, 1200)
    for _ in range(2):
        send_sweep(clocked)
    of_it = "SELECT count(*) AS n FROM argosy.transfers WHERE agent_id = :id AND state = 'expired'"
    until(lambda: clocked.query(of_it, id=owner.id)[0].n == 1200, 120, what="the sweep")
    assert clocked.objects(owner) == []
    [told] = clocked.query(
        "SELECT count(*) AS events, count(DISTINCT transfer_id) AS files FROM argosy.events "
        "WHERE agent_id = :id AND name = 'transfer.expired'",
        id=owner.id,
    )
    assert (told.events, told.files) == (1200, 1200)
    counted = "SELECT sum((counts ->> 'removed')::int) AS n FROM argosy.rounds WHERE name = 'sweep'"
    until(lambda: clocked.query(counted)[0].n == 1200, what="the rounds' own words")
