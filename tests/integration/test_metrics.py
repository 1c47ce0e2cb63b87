"""`argosy metrics`: what Prometheus reads is what the books say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from sqlalchemy.orm import Session

from models import Agent, DeadLetter, Heartbeat, Round, Transfer
from models.difference import DEEP, Differing
from tests.deployment import ARGOSY, AgentInTest, Deployment, until
from worker import usage
from worker.metrics import MOST, exposition, transfers
from worker.usage import OTHERS, TOP, AgentsUsage

Samples = dict[tuple[str, ...], float]


def parsed(text: str) -> Samples:
    """Each value by its name and the values of its labels, in the order of their names."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(deployment: Deployment) -> Samples:
    return parsed(deployment.run("metrics", "--once"))


@contextmanager
def rows(deployment: Deployment, *made: Any) -> Iterator[None]:
    """Rows that are there for a while."""
    deployment.transact(lambda session: session.add_all(made))
    try:
        yield
    finally:
        deployment.transact(lambda session: [session.delete(session.merge(one)) for one in made])


def _round(name: str, hours: int, counts: dict[str, Any] | None, *, ended: bool = True) -> Round:
    start = datetime.now(UTC) - timedelta(hours=hours)
    end = start + timedelta(seconds=90) if ended else None
    return Round(name=name, started_at=start, ended_at=end, counts=counts)


def test_the_last_rounds_are_told(deployment: Deployment) -> None:
    counts = {kind: number for number, kind in enumerate(Differing) if kind not in DEEP}
    last = _round("reconcile", 1, counts)
    swept = _round("sweep", 1, {"removed": 7, "kept": 2, "why": "not a number"})
    made = (
        _round("reconcile", 25, {"object_without_transfer": 99}),
        last,
        _round("reconcile", 0, None, ended=False),
        swept,
        _round("somebody's", 0, {"x": 1}),
    )
    with rows(deployment, *made):
        told = scraped(deployment)
    found = {key[2]: value for key, value in told.items() if key[:2] == _COUNTED}
    assert found == counts
    assert told["argosy_round_count", "sweep", "removed"] == 7
    assert ("argosy_round_count", "sweep", "why") not in told
    assert told["argosy_round_duration_seconds", "reconcile"] == 90
    assert last.ended_at is not None
    ended = told["argosy_round_ended_timestamp_seconds", "reconcile"]
    assert ended == pytest.approx(last.ended_at.timestamp())
    assert {key[1] for key in told if key[0] == "argosy_round_count"} == {"reconcile", "sweep"}


_COUNTED = ("argosy_round_count", "reconcile")


def test_what_waits_and_what_moves(deployment: Deployment, agent: AgentInTest) -> None:
    """In one transaction that nobody else sees: what waits in a fleet soon has its turn.

    It sees nobody else either: what other tests have left may end in the middle.
    """
    long_ago = datetime.now(UTC) - timedelta(days=3)

    def compare(session: Session) -> tuple[Samples, Samples]:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        before = _told(session)
        session.add(_transfer(agent, priority="bulk", created_at=long_ago))
        session.add(_transfer(agent, kind="upload", admitted_at=long_ago))
        session.add(_transfer(agent, kind="upload", state="paused"))
        session.flush()
        after = _told(session)
        session.rollback()
        return before, after

    before, told = deployment.transact(compare)
    more = {name: told[name] - before[name] for name in told if told[name] != before[name]}
    oldest = more.pop(("argosy_oldest_waiting_seconds", "bulk"))
    stalest = more.pop(("argosy_stalest_transfer_seconds",))
    assert [oldest, stalest] == pytest.approx([3 * 86_400] * 2, abs=600)
    assert more == {
        ("argosy_transfers", "download", "queued"): 1,
        ("argosy_transfers", "upload", "queued"): 1,
        ("argosy_transfers", "upload", "paused"): 1,
        ("argosy_transfers_waiting", "bulk"): 1,
        ("argosy_transfers_running",): 1,
    }


def _transfer(agent: AgentInTest, **columns: Any) -> Transfer:
    identity = uuid4()
    common: dict[str, Any] = {
        "id": identity,
        "kind": "download",
        "agent_id": agent.id,
        "request_sha256": "",
        "bucket": "agent-transfers",
        "object_name": f"{agent.id}/{identity}/x",
        "name": "x",
        "content_type": "text/plain",
        "path": "/nowhere",
    }
    return Transfer(**{**common, **columns})


def _told(session: Session) -> Samples:
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in transfers(session)
        for sample in family.samples
        if sample.labels.get("priority") != "normal"
    }


def _dead_letter(reason: str, **columns: Any) -> DeadLetter:
    return DeadLetter(fingerprint=uuid4().hex, queue="argosy.chunks", reason=reason, **columns)


def test_heartbeats_and_dead_letters(deployment: Deployment) -> None:
    now = datetime.now(UTC)
    letters = [
        _dead_letter("delivery_limit", at=now),
        _dead_letter("delivery_limit", at=now - timedelta(days=2)),
    ]
    before = scraped(deployment).get(("argosy_dead_letters_day", "delivery_limit"), 0)
    with rows(deployment, Heartbeat(name="tested", at=now - timedelta(hours=1)), *letters):
        told = scraped(deployment)
    assert told["argosy_heartbeat_age_seconds", "tested"] == pytest.approx(3600, abs=600)
    assert 0 <= told["argosy_heartbeat_age_seconds", "resume"] < 600
    assert told["argosy_dead_letters_day", "delivery_limit"] == before + 1


def test_a_label_has_few_values(deployment: Deployment) -> None:
    letters = [_dead_letter(uuid4().hex) for _ in range(3 * MOST)]
    with rows(deployment, *letters):
        told = scraped(deployment)
    assert len([key for key in told if key[0] == "argosy_dead_letters_day"]) == MOST


def test_few_agents_are_named(deployment: Deployment) -> None:
    """Those that have the most; the others are one, and no byte is lost. Nobody else sees them."""

    def look(session: Session) -> tuple[dict[str, float], dict[str, float]]:
        before = sum(_usage(deployment, session)[0].values())
        agents = [
            Agent(id=uuid4(), name=f"measured-{number}", role="worker", max_bytes=10**15)
            for number in range(2 * TOP)
        ]
        session.add_all(agents)
        session.flush()
        session.add_all(_stored(one, size) for size, one in enumerate(agents, 10**12))
        session.flush()
        sizes, shares = _usage(deployment, session)
        session.rollback()
        assert sum(sizes.values()) - before == sum(range(10**12, 10**12 + 2 * TOP))
        return sizes, shares

    sizes, shares = deployment.transact(look)
    largest = {f"measured-{number}" for number in range(TOP, 2 * TOP)}
    assert sizes.keys() == {*largest, OTHERS}
    assert shares.keys() == largest
    assert shares[f"measured-{TOP}"] == (10**12 + TOP) / 10**15


def _usage(deployment: Deployment, session: Session) -> tuple[dict[str, float], dict[str, float]]:
    sizes, shares = (
        {sample.labels["agent"]: sample.value for sample in family.samples}
        for family in AgentsUsage(deployment.settings)(session)
    )
    return sizes, shares


def _stored(agent: Agent, size: int) -> Transfer:
    row = AgentInTest(agent.id, agent.name, "", None)  # type: ignore[arg-type]
    return _transfer(row, kind="upload", state="completed", size=size)


def test_a_database_that_is_away(deployment: Deployment) -> None:
    away = "postgresql://nobody:nothing@127.0.0.1:9/postgres"
    done = subprocess.run(
        [ARGOSY, "metrics", "--once"],
        env={**os.environ, **deployment.environment, "DATABASE_URL": away},
        capture_output=True,
        text=True,
        check=True,
    )
    told = {("argosy_up",): 0, ("argosy_valkey_up",): 1, ("argosy_storage_away",): 0}
    assert parsed(done.stdout) == told
    assert "metrics.away" in done.stderr
    assert "nothing" not in done.stderr


def test_it_is_served(deployment: Deployment) -> None:
    serving = subprocess.Popen(
        [ARGOSY, "metrics", "--port", "0"],
        env={**os.environ, **deployment.environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert serving.stderr
        url = serving.stderr.readline().strip()
        answers = until(lambda: _two_alike(url), what="two answers with nothing new between them")
    finally:
        serving.terminate()
        serving.communicate()
    assert url.startswith("http://127.0.0.1:")
    assert [answer["argosy_up",] for answer in answers] == [1, 1]


def _two_alike(url: str) -> list[Samples] | None:
    """Two answers that tell of the same: what other tests have left may go on between them."""
    one, other = (parsed(httpx.get(url, timeout=30).text) for _ in range(2))
    return [one, other] if one.keys() == other.keys() else None


def test_what_agents_take_up_may_take_too_long(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(session: Session) -> None:
        session.execute(text("SET LOCAL statement_timeout = 10"))
        session.execute(text("SELECT pg_sleep(5)"))

    monkeypatch.setattr(usage, "stored_by_agent", slowly)
    told = exposition(deployment.settings)
    assert "argosy_up 1.0" in told
    assert "argosy_transfers_running" in told
