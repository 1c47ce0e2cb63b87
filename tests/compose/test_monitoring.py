"""The profile `monitoring`: Prometheus scrapes everything that is to be scraped."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.compose.deployment import Deployment
from tests.deployment import until

JOBS = {"argosy-metrics", "argosy-worker", "argosy-beat", "rabbitmq", "flower"}

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def prometheus(project: Deployment) -> str:
    """The address of a Prometheus of the project."""
    project.compose(
        "--profile", "monitoring", "up", "--detach", "--wait", "--no-build", "prometheus"
    )
    return project.url("PROMETHEUS_PORT")


def asked(prometheus: str, path: str, **parameters: str) -> dict[str, Any]:
    answer = httpx.get(f"{prometheus}/api/v1/{path}", params=parameters).raise_for_status()
    return dict(answer.json()["data"])


def test_every_target_is_up(prometheus: str) -> None:
    def all_up() -> bool:
        found = asked(prometheus, "targets")["activeTargets"]
        up = [one for one in found if one["health"] == "up"]
        workers = [one for one in up if one["labels"]["job"] == "argosy-worker"]
        return {one["labels"]["job"] for one in up} == JOBS and len(workers) == 3 and up == found

    until(all_up, 120, what="every target up")


def test_what_was_moved_is_told(
    project: Deployment, agent: dict[str, str], prometheus: str
) -> None:
    def moved() -> float:
        query = "sum(argosy_transferred_bytes_total)"
        found = asked(prometheus, "query", query=query)["result"]
        return float(found[0]["value"][1]) if found else 0.0

    before = until(moved, 60, what="bytes that were moved")
    project.run_agent(agent, "4")
    until(lambda: moved() >= before + 2 * 4 * 1024 * 1024, 60, what="4 MiB up and down")


def test_rules_are_loaded(prometheus: str) -> None:
    groups = asked(prometheus, "rules")["groups"]
    assert sum(len(group["rules"]) for group in groups) > 10


def test_a_login_for_the_views_of_the_past(project: Deployment) -> None:
    project.compose("--profile", "monitoring", "run", "--rm", "--no-deps", "observer")
    url = f"postgresql://observer:{project.environment['OBSERVER_DB_PASSWORD']}@db:5432/postgres"
    program = f"import psycopg; print(psycopg.connect('{url}').execute('SELECT user').fetchone())"
    assert "('observer',)" in project.python("worker", program)
