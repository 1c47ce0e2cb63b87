"""How long a large past takes: to be forgotten, and to be asked by the views.

    python -m benchmarks.past --rows 500000

Rows of 50 agents over some 460 days, each with four parts and five events, beside 10,000 transfers
on their way; on servers of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, create_engine, make_url, text

from local.stack import Stack

ARGOSY = str(Path(sys.executable).parent / "argosy")
AGENTS, LIVE, DAYS = 50, 200, 460
ROUND = "from tasks.forgetting import Forgetting; f = Forgetting(); f.run(); print(f.counts)"
QUERIES = (
    "SELECT * FROM argosy.throughput_hourly WHERE hour > now() - interval '1 day'",
    "SELECT * FROM argosy.failures_by_reason",
    "SELECT * FROM argosy.transfer_history WHERE queued_at > now() - interval '1 day'",
)
_AGENT = "INSERT INTO argosy.agents (id, name) VALUES (:agent, :name)"
_PAST = """
WITH made AS (
    INSERT INTO argosy.transfers (id, kind, state, agent_id, request_sha256, bucket, object_name,
        name, content_type, path, size, created_at, started_at, ended_at)
    SELECT gen_random_uuid(), CASE WHEN n % 4 = 0 THEN 'upload' ELSE 'download' END, 'completed',
        :agent, '', 'agent-transfers', n::text, 'file.bin', 'text/plain', '', 7, at, at,
        at + interval '10 s'
    FROM (
        SELECT n, now() - n * make_interval(days => :days) / :rows AS at
        FROM generate_series(1, :rows) AS n) AS times
    RETURNING id, created_at
), parts AS (
    INSERT INTO argosy.chunks (transfer_id, number, "offset", length, state)
    SELECT id, number, 0, 1, 'stored' FROM made, generate_series(1, 4) AS number
)
INSERT INTO argosy.events (name, at, agent_id, transfer_id)
SELECT 'transfer.queued', created_at, :agent, id FROM made, generate_series(1, 5)
"""
_LIVE = """
INSERT INTO argosy.transfers (id, kind, agent_id, request_sha256, bucket, object_name, name,
    content_type, path)
SELECT gen_random_uuid(), 'download', :agent, '', 'agent-transfers', 'live-' || n, 'file.bin',
    'text/plain', '' FROM generate_series(1, :live) AS n
"""


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="argosy-past-"))
    folder.chmod(0o711)  # PostgreSQL may run as another user
    with Stack(folder / "data", broker="valkey") as stack:
        stack.start_servers()
        environment = {**os.environ, **stack.operator_environment}
        subprocess.run([ARGOSY, "bootstrap"], env=environment, check=True, capture_output=True)
        measure(stack.postgres.url, environment, given.rows)
    shutil.rmtree(folder)


def measure(url: str, environment: Mapping[str, str], rows: int) -> None:
    """On a project that is ready."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        for _ in range(AGENTS):
            _enter(connection, rows // AGENTS)
        connection.execute(text("ANALYZE"))
    with engine.begin() as connection:
        for query in QUERIES:
            began = time.monotonic()
            connection.execute(text(query)).all()
            print(f"{time.monotonic() - began:.2f} s  {query}", flush=True)
    engine.dispose()
    for which in ("first", "second"):
        began = time.monotonic()
        command = [sys.executable, "-c", ROUND]
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        last = said.stdout.splitlines()[-1]
        print(f"{time.monotonic() - began:.1f} s  the {which} round: {last}", flush=True)


def _enter(connection: Connection, rows: int) -> None:
    agent = uuid4()
    connection.execute(text(_AGENT), {"agent": agent, "name": f"agent-{agent}"})
    connection.execute(text(_PAST), {"agent": agent, "rows": rows, "days": DAYS})
    connection.execute(text(_LIVE), {"agent": agent, "live": LIVE})


if __name__ == "__main__":
    main()
