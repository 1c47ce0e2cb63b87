"""The expressions of the dashboards that are deployed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
WINDOW = "20s"
"""For Grafana's `$__rate_interval`, where there is a scrape each second."""


def dashboards() -> dict[str, dict[str, Any]]:
    """Each as Grafana loads it, by its name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def expressions() -> Iterator[tuple[str, str]]:
    """What is asked of Prometheus, with the dashboard and the panel."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                if "expr" in target:
                    yield f"{name}: {panel['title']} {target['refId']}", ready(target["expr"])


def queries() -> Iterator[tuple[str, str]]:
    """What is asked of the views, likewise."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                if "rawSql" in target:
                    yield f"{name}: {panel['title']}", _filled(target["rawSql"])


def ready(expression: str) -> str:
    """As Grafana would send it."""
    return expression.replace("$__rate_interval", WINDOW)


def _filled(sql: str) -> str:
    for column in ("queued_at", "hour", "last_at"):
        sql = sql.replace(f"$__timeFilter({column})", f"{column} > now() - interval '6 hours'")
    return sql.replace("'$transfer'", ":transfer")
