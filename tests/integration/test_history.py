"""What an operator is told of the past: by `argosy history --all`, and by the views."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from argosy.errors import InvalidRequest
from commands.views import AgentView, OperatorView
from commands.wanted import Wanted
from models.database import make_engine, make_sessions
from tests.deployment import AgentInTest, Deployment
from tests.integration.past import enter, execute

DAY = datetime(2001, 2, 3, tzinfo=UTC)
"""Long before anything else in the deployment."""
FAILED = {
    "kind": "upload",
    "state": "failed",
    "cleaned_at": DAY,
    "error_code": "source_missing",
    "error_message": "It is not there.",
}
ROWS: Mapping[str, dict[str, Any]] = {
    "quick": {"size": 6000, "ended_at": DAY.replace(hour=10, minute=1)},
    "slow": {"size": 1200, "ended_at": DAY.replace(hour=10, minute=10)},
    "later": {"size": 5, "ended_at": DAY.replace(hour=11, minute=1)},
    "missing": {**FAILED, "ended_at": DAY.replace(hour=10, minute=2)},
    "again": {**FAILED, "ended_at": DAY.replace(hour=12)},
    "waiting": {"state": "paused", "started_at": None, "ended_at": None},
}
"""Asked for at ten, and begun ten seconds later."""


@pytest.fixture
def past(deployment: Deployment, agent: AgentInTest) -> Mapping[str, UUID]:
    """An agent's transfers of that day; the later in the list, the newer."""
    begun = {"created_at": DAY.replace(hour=10), "started_at": DAY.replace(hour=10, second=10)}
    return {
        name: enter(
            deployment,
            agent,
            **begun | {"name": name, "created_at": DAY.replace(hour=10, microsecond=number)} | row,
        )
        for number, (name, row) in enumerate(ROWS.items())
    }


# The command

ASKED = {
    "all": Wanted(),
    "a state": Wanted(states=("failed",)),
    "two states": Wanted(states=("failed", "paused")),
    "a kind": Wanted(kinds=("download",)),
    "a reason": Wanted(reason="source_missing"),
    "another reason": Wanted(reason="disk_full"),
    "since": Wanted(since=DAY.replace(hour=10, microsecond=3)),
    "until": Wanted(until=DAY.replace(hour=10, microsecond=3)),
    "all of it": Wanted(
        states=("completed",),
        kinds=("download",),
        since=DAY.replace(hour=10, microsecond=1),
        until=DAY.replace(hour=10, microsecond=2),
    ),
}
FOUND = {
    "all": list(ROWS),
    "a state": ["missing", "again"],
    "two states": ["missing", "again", "waiting"],
    "a kind": ["quick", "slow", "later", "waiting"],
    "a reason": ["missing", "again"],
    "another reason": [],
    "since": ["missing", "again", "waiting"],
    "until": ["quick", "slow", "later"],
    "all of it": ["slow"],
}


class Answers:
    """A client whose fleet answers with these documents, page by page."""

    def __init__(self, found: list[Any]) -> None:
        self._found = found

    def history(self, limit: int, before: str | None) -> list[Any]:
        ids = [str(one.id) for one in self._found]
        first = ids.index(before) + 1 if before else 0
        return self._found[first : first + limit]


def test_operators_and_agents_see_what_they_ask_for(
    deployment: Deployment, agent: AgentInTest, past: Mapping[str, UUID]
) -> None:
    engine = make_engine(deployment.settings.operator_url)
    looks = OperatorView(make_sessions(engine), deployment.settings.window)
    own = Wanted(agent=agent.name)
    agents = AgentView(Answers(list(looks.history(100, own))))  # type: ignore[arg-type]
    for case, asked in ASKED.items():
        named = Wanted(**{**vars(asked), "agent": agent.name})
        for view, wanted in ((looks, named), (agents, asked)):
            seen = [one.name for one in view.history(100, wanted)]
            assert seen == FOUND[case][::-1], (case, view)
            assert [one.name for one in view.history(1, wanted)] == seen[:1]
    everybodys = Wanted(until=DAY.replace(hour=11))
    assert {one.id for one in looks.history(100, everybodys)} == set(past.values())
    engine.dispose()


def test_the_command(deployment: Deployment, agent: AgentInTest, past: Mapping[str, UUID]) -> None:
    own = ("history", "--all", "--agent", agent.name, "--since", "2001-02-03")
    failed = deployment.run(*own, "--state", "failed", "--reason", "source_missing", "--json")
    assert [json.loads(line)["id"] for line in failed.splitlines()] == [
        str(past["again"]),
        str(past["missing"]),
    ]
    table = deployment.run(*own, "--until", "2001-02-04", "--kind", "download", "--limit", "2")
    head, newest, later = table.splitlines()
    assert head.split() == [
        *("transfer", "asked", "for", "kind", "state", "size"),
        *("waited", "took", "agent", "name", "error"),
    ]
    assert newest.split()[:1] == [str(past["waiting"])]
    assert later.split()[-6:] == ["bytes", "10s", "1h", "50s", agent.name, "later"]


def test_an_agent_that_is_not_there(deployment: Deployment) -> None:
    engine = make_engine(deployment.settings.operator_url)
    looks = OperatorView(make_sessions(engine), deployment.settings.window)
    with pytest.raises(InvalidRequest, match="There is no agent 'nobody'"):
        list(looks.history(1, Wanted(agent="nobody")))
    engine.dispose()


# The views


def test_the_view_of_transfers(
    deployment: Deployment, agent: AgentInTest, past: Mapping[str, UUID]
) -> None:
    query = "SELECT * FROM argosy.transfer_history WHERE agent = :name"
    rows = {row.transfer: row for row in deployment.query(query, name=agent.name)}
    assert set(rows) == set(past.values())
    quick, missing, waits = (rows[past[name]] for name in ("quick", "missing", "waiting"))
    assert (quick.kind, quick.state, quick.size, quick.priority) == (
        *("download", "completed", 6000, "normal"),
    )
    assert (quick.wait_seconds, quick.seconds, quick.bytes_per_second) == (10, 50, 120)
    assert (missing.error_code, missing.bytes_per_second) == ("source_missing", None)
    assert waits.seconds is None
    assert waits.wait_seconds > 20 * 365 * 86400


def test_a_file_that_has_gone_was_carried(
    deployment: Deployment, agent: AgentInTest, past: Mapping[str, UUID]
) -> None:
    execute(
        deployment, "UPDATE argosy.transfers SET state = 'expired' WHERE id = :id", id=past["quick"]
    )
    query = "SELECT bytes_per_second FROM argosy.transfer_history WHERE transfer = :id"
    [row] = deployment.query(query, id=past["quick"])
    assert row.bytes_per_second == 120


@pytest.fixture
def alone(deployment: Deployment, past: Mapping[str, UUID]) -> None:
    """The day's transfers of this test only: those of others are of another year."""
    execute(
        deployment,
        "UPDATE argosy.transfers SET created_at = created_at - interval '1 year', "
        "ended_at = ended_at - interval '1 year' WHERE created_at < '2001-02-04' "
        "AND created_at > '2001-01-01' AND NOT id = ANY (:ids)",
        ids=list(past.values()),
    )


@pytest.mark.usefixtures("alone")
def test_throughput_by_the_hour(deployment: Deployment) -> None:
    rows = deployment.query(
        "SELECT * FROM argosy.throughput_hourly WHERE hour >= '2001-02-03Z' "
        "AND hour < '2001-02-04Z' ORDER BY hour, kind"
    )
    told = [(row.hour.hour, row.kind, row.completed, row.failed, row.bytes) for row in rows]
    assert told == [
        (10, "download", 2, 0, 7200),
        (10, "upload", 0, 1, 0),
        (11, "download", 1, 0, 5),
        (12, "upload", 0, 1, 0),
    ]
    assert (rows[0].bytes_per_second, rows[0].cancelled) == (2, 0)
    assert rows[0].mean_wait_seconds == pytest.approx(10, abs=0.001)
    assert rows[0].p95_wait_seconds == pytest.approx(10, abs=0.001)


@pytest.mark.usefixtures("alone")
def test_failures_by_reason(deployment: Deployment) -> None:
    [row] = deployment.query(
        "SELECT * FROM argosy.failures_by_reason WHERE day >= '2001-02-03Z' AND day < '2001-02-04Z'"
    )
    assert (row.error_code, row.kind, row.transfers, row.agents) == (
        *("source_missing", "upload", 2, 1),
    )
    assert (row.first_at.hour, row.last_at.hour) == (10, 12)
