"""Writes dashboards/*.json, which Grafana loads; `--check` only compares.

python deploy/grafana/generate.py

A panel is a title, a unit and expressions with their legends. Its place follows from the order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "dashboards"
WIDE, HIGH, IN_A_ROW = 8, 8, 3
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
BOOKS = {"type": "postgres", "uid": "books"}


@dataclass(frozen=True)
class Panel:
    """Lines over time: PromQL by its legend."""

    title: str
    unit: str
    lines: dict[str, str]
    kind: str = "timeseries"

    def document(self) -> dict[str, Any]:
        """As Grafana has it, without its place."""
        targets = [
            {"refId": chr(65 + number), "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(self.lines.items())
        ]
        return {
            "title": self.title,
            "type": self.kind,
            "datasource": PROMETHEUS,
            "fieldConfig": {"defaults": {"unit": self.unit, "min": 0}, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
            "targets": targets,
        }


@dataclass(frozen=True)
class Rows:
    """A table of what a query of the views finds."""

    title: str
    sql: str

    def document(self) -> dict[str, Any]:
        """As Grafana has it, without its place."""
        target = {"refId": "A", "rawQuery": True, "format": "table", "rawSql": self.sql}
        return {
            "title": self.title,
            "type": "table",
            "datasource": BOOKS,
            "targets": [{**target, "datasource": BOOKS}],
        }


RATE = "[$__rate_interval]"
FLEET = [
    Panel(
        "Now",
        "short",
        {"with a slot": "argosy_transfers_running", "waiting": "sum(argosy_transfers_waiting)"},
        kind="stat",
    ),
    Panel("Worker processes", "short", {"processes": "sum(argosy_worker_processes)"}, kind="stat"),
    Panel(
        "Alerts that fire",
        "short",
        {"alerts": 'sum(ALERTS{alertstate="firing"}) or vector(0)'},
        kind="stat",
    ),
    Panel(
        "Files arriving",
        "Bps",
        {"{{kind}}": f"sum by (kind) (rate(argosy_transferred_bytes_total{RATE}))"},
    ),
    Panel(
        "Over the network",
        "Bps",
        {"{{way}}": f"sum by (way) (rate(argosy_worker_moved_bytes_total{RATE}))"},
    ),
    Panel(
        "Transfers that end",
        "ops",
        {"{{outcome}}": f"sum by (outcome) (rate(argosy_transfers_ended_total{RATE}))"},
    ),
    Panel("On their way", "short", {"{{state}}": "sum by (state) (argosy_transfers)"}),
    Panel("Windows in use", "short", {"{{state}}": "argosy_window_chunks"}),
    Panel("Oldest waiting", "s", {"{{priority}}": "argosy_oldest_waiting_seconds"}),
    Panel(
        "Messages in queues",
        "short",
        {
            "ready": "sum(rabbitmq_queue_messages_ready)",
            "being worked on": "sum(rabbitmq_queue_messages_unacked)",
        },
    ),
    Panel(
        "Wait of a message, 95 of 100",
        "s",
        {
            "{{queue}}": "histogram_quantile(0.95, sum by "
            f"(le, queue) (rate(argosy_worker_queue_seconds_bucket{RATE})))"
        },
    ),
    Panel("Tasks", "ops", {"{{task}}": f"sum by (task) (rate(argosy_worker_tasks_total{RATE}))"}),
]
LIFE = [
    Panel(
        "From request to start, 95 of 100",
        "s",
        {
            "{{priority}}": "histogram_quantile(0.95, "
            f"sum by (le, priority) (rate(argosy_transfer_wait_seconds_bucket{RATE})))"
        },
    ),
    Panel(
        "From start to completion, 95 of 100",
        "s",
        {
            "{{size}}": "histogram_quantile(0.95, "
            f"sum by (le, size) (rate(argosy_transfer_duration_seconds_bucket{RATE})))"
        },
    ),
    Panel(
        "Speed, median",
        "Bps",
        {
            "{{size}}": "histogram_quantile(0.5, sum by (le, size) "
            f"(rate(argosy_transfer_speed_bytes_per_second_bucket{RATE})))"
        },
    ),
    Panel(
        "Claims, mean time held",
        "s",
        {
            "{{what}}": "sum by (what) (rate("
            f"argosy_worker_claim_seconds_sum{RATE})) / sum by (what) (rate("
            f"argosy_worker_claim_seconds_count{RATE}))"
        },
    ),
    Panel("Longest without progress", "s", {"seconds": "argosy_stalest_transfer_seconds"}),
    Rows(
        "One transfer ($transfer)",
        "SELECT transfer, agent, kind, state, priority, size, "
        "queued_at, started_at, ended_at, wait_seconds, seconds, bytes_per_second, error_code, "
        "retry_of FROM argosy.transfer_history WHERE transfer::text = '$transfer'",
    ),
    Rows(
        "The newest",
        "SELECT queued_at, transfer, agent, kind, state, size, seconds, "
        "bytes_per_second, error_code FROM argosy.transfer_history WHERE "
        "$__timeFilter(queued_at) ORDER BY queued_at DESC LIMIT 100",
    ),
]
STORAGE = [
    Panel("Bytes by bucket", "bytes", {"{{bucket}}": "argosy_stored_bytes"}),
    Panel("Files by bucket", "short", {"{{bucket}}": "argosy_stored_files"}),
    Panel("Bytes by agent", "bytes", {"{{agent}}": "argosy_agent_stored_bytes"}),
    Panel(
        "Nearest to their limits",
        "percentunit",
        {"{{agent}}": "topk(10, argosy_agent_quota_used_ratio) or vector(0)"},
    ),
    Panel("Files that go", "ops", {"a second": f"rate(argosy_files_expired_total{RATE})"}),
    Panel("The last sweep", "short", {"{{what}}": 'argosy_round_count{round="sweep"}'}),
    Panel(
        "Since the last round", "s", {"{{round}}": "time() - argosy_round_ended_timestamp_seconds"}
    ),
    Panel(
        "The books against Storage", "short", {"{{what}}": 'argosy_round_count{round="reconcile"}'}
    ),
    Rows(
        "Hours",
        "SELECT hour, kind, completed, failed, cancelled, bytes, bytes_per_second, "
        "mean_wait_seconds, p95_wait_seconds FROM argosy.throughput_hourly WHERE "
        "$__timeFilter(hour) ORDER BY hour DESC, kind",
    ),
]
FAILURES = [
    Panel(
        "Share that fails",
        "percentunit",
        {
            "of what ends": "sum(rate(argosy_transfers_ended_"
            f'total{{outcome="failed"}}{RATE})) / sum(rate(argosy_transfers_ended_total{RATE}))'
        },
    ),
    Panel(
        "Failures by code",
        "ops",
        {"{{code}}": f"sum by (code) (rate(argosy_transfers_failed_total{RATE}))"},
    ),
    Panel(
        "Put back, by code",
        "ops",
        {
            "{{what}} {{code}}": f"sum by (what, code) (rate(argosy_retries_total{RATE})) "
            "or vector(0)"
        },
    ),
    Panel(
        "Requests to Storage repeated",
        "ops",
        {
            "{{code}}": "sum by (code) (rate("
            f"argosy_worker_storage_retries_total{RATE})) or vector(0)"
        },
    ),
    Panel(
        "Leases that ran out",
        "ops",
        {"a second": f"sum(rate(argosy_worker_expired_leases_total{RATE}))"},
    ),
    Panel("Dead letters of a day", "short", {"{{reason}}": "argosy_dead_letters_day or vector(0)"}),
    Panel(
        "Ends of claims",
        "ops",
        {"{{what}} {{end}}": f"sum by (what, end) (rate(argosy_worker_claims_total{RATE}))"},
    ),
    Panel("Since a periodic task ran", "s", {"{{name}}": "argosy_heartbeat_age_seconds"}),
    Panel(
        "What answers",
        "short",
        {
            "{{job}}": "min by (job) (up)",
            "database": "argosy_up",
            "Valkey": "argosy_valkey_up",
            "Storage away": "argosy_storage_away",
        },
    ),
    Rows(
        "Why",
        "SELECT day, error_code, kind, transfers, agents, first_at, last_at FROM "
        "argosy.failures_by_reason WHERE $__timeFilter(last_at) ORDER BY day DESC, transfers DESC",
    ),
]
DASHBOARDS: dict[str, tuple[str, Sequence[Panel | Rows]]] = {
    "fleet": ("The fleet", FLEET),
    "life": ("A transfer's life", LIFE),
    "storage": ("Storage and retention", STORAGE),
    "failures": ("Failures", FAILURES),
}


def dashboard(name: str) -> dict[str, Any]:
    """One of them, as Grafana loads it."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"argosy-{name}",
        "title": title,
        "tags": ["argosy"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [VARIABLE] if name == "life" else []},
        "panels": list(placed(panels)),
    }


VARIABLE = {"name": "transfer", "label": "Transfer", "type": "textbox", "query": ""}


def placed(panels: Sequence[Panel | Rows]) -> Sequence[dict[str, Any]]:
    """Three in a row; a table has a row of its own."""
    made, column, row = [], 0, 0
    for number, panel in enumerate(panels, 1):
        if column and (isinstance(panel, Rows) or column == IN_A_ROW):
            column, row = 0, row + HIGH
        width = WIDE * IN_A_ROW if isinstance(panel, Rows) else WIDE
        place = {"x": column * WIDE, "y": row, "w": width, "h": HIGH}
        made.append({"id": number, **panel.document(), "gridPos": place})
        column += IN_A_ROW if isinstance(panel, Rows) else 1
    return made


def pages() -> dict[str, str]:
    """The files by their names."""
    return {f"{name}.json": json.dumps(dashboard(name), indent=1) + "\n" for name in DASHBOARDS}


def stale() -> list[str]:
    """Names of the files that differ from this one."""
    there = {path.name: path.read_text(encoding="utf-8") for path in HERE.glob("*.json")}
    made = pages()
    return sorted(name for name in {*there, *made} if there.get(name) != made.get(name))


def main() -> None:
    """Write the files, or say which are stale."""
    if "--check" in sys.argv[1:]:
        sys.exit(f"Stale: {', '.join(stale())}" if stale() else 0)
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
