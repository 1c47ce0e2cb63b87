"""What the dashboards ask is there, after a run of a real fleet that a real Prometheus watched."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import until
from tests.monitoring import panels
from tests.monitoring.traffic import round_of_traffic
from tests.monitoring.watched import Watched

HERE = Path(__file__).parents[2] / "deploy" / "grafana"


@pytest.fixture(scope="module")
def seen(watched: Watched) -> str:
    """There was traffic, and Prometheus has seen it."""
    one = round_of_traffic(watched.deployment, watched.sender)
    settled = 'argosy_transfers_ended_total{kind="upload",outcome="completed"} > 4'
    until(lambda: watched.prometheus.query(settled), 30, what="the traffic to be seen")
    return one


@pytest.mark.parametrize(("panel", "expression"), list(panels.expressions()))
def test_a_panel_has_data(watched: Watched, seen: str, panel: str, expression: str) -> None:
    assert until(lambda: watched.prometheus.query(expression), 15, what=f"data of {panel}")


@pytest.mark.parametrize(("panel", "sql"), list(panels.queries()))
def test_a_table_has_rows(watched: Watched, seen: str, panel: str, sql: str) -> None:
    parameters: dict[str, Any] = {"transfer": seen} if ":transfer" in sql else {}
    assert watched.deployment.query(sql, **parameters), panel


def test_the_files_are_those_of_their_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))
    import generate

    assert Path(generate.__file__).parent == HERE, sys.path
    assert generate.stale() == []
