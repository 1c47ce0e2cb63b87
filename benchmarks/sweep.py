"""How a retention sweep does with very many files: time, memory, and the plans of its queries.

    python -m benchmarks.sweep --rows 1000000

Rows of files whose time is over, without objects, on servers of its own. Every removal is a
request of Storage's all the same. The first sweep is killed on its way; the second goes on.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Engine, create_engine, make_url, text

from argosy.settings import FleetSettings
from local.stack import Stack
from models.overdue import Terms, page

ARGOSY = str(Path(sys.executable).parent / "argosy")
KILLED_AFTER_SECONDS = 20.0
LEASE_SECONDS = 10
PINNED_EVERY = 1000
"""One file in so many is kept by a message, all through the list."""

_AGENT = "INSERT INTO argosy.agents (id, name, role) VALUES (:agent, 'sweeps', 'worker')"
_FILES = """
INSERT INTO argosy.transfers (id, kind, state, agent_id, request_sha256, bucket, object_name,
    name, content_type, path, size, ended_at, expires_at)
SELECT id, 'upload', 'completed', :agent, '', 'agent-transfers',
    CAST(:agent AS text) || '/' || id || '/file.bin', 'file.bin', 'text/plain', '', 1000,
    now() - interval '8 days', now() - n * interval '1 millisecond'
FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, :rows) AS n) AS made
"""
_PINS = """
INSERT INTO argosy.pins (message_id, agent_id, bucket, path)
SELECT gen_random_uuid(), agent_id, bucket, object_name FROM (
    SELECT *, row_number() OVER () AS n FROM argosy.transfers) AS numbered
WHERE n % :every = 0
"""


@dataclass(frozen=True)
class Run:
    """One sweep: its time, its largest memory, and how it ended."""

    seconds: float
    rss_mb: float
    said: str


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kill-after", type=float, default=KILLED_AFTER_SECONDS)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="argosy-sweep-"))
    folder.chmod(0o711)  # PostgreSQL may run as another user
    with Stack(folder / "data", broker="valkey") as stack:
        stack.start_servers()
        environment = {**os.environ, **stack.operator_environment}
        subprocess.run([ARGOSY, "bootstrap"], env=environment, check=True, capture_output=True)
        measure(environment, given.rows, given.kill_after)
    shutil.rmtree(folder)


def measure(environment: Mapping[str, str], rows: int, kill_after: float) -> None:
    """On a project that is ready."""
    url = environment["ARGOSY_OPERATOR_DATABASE_URL"]
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    fill(engine, rows)
    for line in plan(engine, environment):
        print(line)
    lease = {"ARGOSY_LEASE_SECONDS": "5", "ARGOSY_STORAGE_DEADLINE_SECONDS": "5"}
    environment = {**environment, **lease}
    killed = run(environment, kill_after)
    print(f"killed: {killed.seconds:.0f} s, {killed.rss_mb:.0f} MB; {_states(engine)}")
    time.sleep(LEASE_SECONDS)  # what it has claimed is free then
    whole = run(environment, None)
    print(f"whole:  {whole.seconds:.0f} s, {whole.rss_mb:.0f} MB; {whole.said}; {_states(engine)}")
    print(_scans(engine))


def fill(engine: Engine, rows: int) -> None:
    """Files whose time is over, some of them pinned."""
    began = time.monotonic()
    agent = uuid4()
    with engine.begin() as connection:
        connection.execute(text(_AGENT), {"agent": agent})
        connection.execute(text(_FILES), {"agent": agent, "rows": rows})
        connection.execute(text(_PINS), {"every": PINNED_EVERY})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE argosy.transfers, argosy.pins"))
    print(f"{rows} rows in {time.monotonic() - began:.0f} s")


def plan(engine: Engine, environment: Mapping[str, str]) -> list[str]:
    """How PostgreSQL finds a batch."""
    settings = _settings(environment)
    query = page(Terms.of(settings), None).with_for_update(skip_locked=True)
    with engine.begin() as connection:
        sql = query.compile(dialect=engine.dialect, compile_kwargs={"literal_binds": True})
        found = connection.execute(text(f"EXPLAIN (ANALYZE, BUFFERS) {sql}".replace(":", "\\:")))
        return [row[0] for row in found]


def _settings(environment: Mapping[str, str]) -> FleetSettings:
    os.environ.update(environment)
    return FleetSettings()


def run(environment: Mapping[str, str], kill_after: float | None) -> Run:
    """A sweep by the operator's command, killed after so many seconds."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([ARGOSY, "sweep"], env=environment, stdout=output)
        if kill_after is not None:
            time.sleep(kill_after)
            process.kill()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
        output.seek(0)
        last = ""
        for line in output:
            last = line.strip() or last
    said = last if re.search(r"removed;", last) else "interrupted"
    return Run(time.monotonic() - began, used.ru_maxrss / 1024, said)


def _states(engine: Engine) -> str:
    query = "SELECT state, count(*) FROM argosy.transfers GROUP BY state ORDER BY state"
    with engine.connect() as connection:
        return ", ".join(f"{count} {state}" for state, count in connection.execute(text(query)))


def _scans(engine: Engine) -> str:
    """How often the table was read from end to end, and by its indexes."""
    query = (
        "SELECT relname, seq_scan, seq_tup_read, idx_scan FROM pg_stat_user_tables "
        "WHERE schemaname = 'argosy' AND relname IN ('transfers', 'derivatives', 'grants', 'pins')"
    )
    with engine.connect() as connection:
        rows = connection.execute(text(query)).all()
    return "; ".join(
        f"{row.relname}: {row.seq_scan} whole reads of {row.seq_tup_read} rows, "
        f"{row.idx_scan} by an index"
        for row in rows
    )


if __name__ == "__main__":
    main()
