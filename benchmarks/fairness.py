"""How long an agent's single file takes while another's many wait: `python -m benchmarks.fairness`.

Twice: while the many requests are still ahead of it in the queue, and once they are accepted
and their files wait for a turn.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import click
from celery import Celery
from sqlalchemy import text

from argosy.auth import TOKEN_HEADER, SignIn
from argosy.settings import AgentSettings
from benchmarks.deployment import operate
from local.environment_file import exported
from local.stack import Stack
from models.database import one_session
from tasks import transfer

RESULT_SECONDS = 1800
ACCEPTED = "SELECT count(*) FROM argosy.transfers WHERE agent_id = :agent"
ENDED = f"{ACCEPTED} AND state = 'completed'"


class Sender:
    """An agent of this benchmark's own."""

    def __init__(self, stack: Stack, name: str) -> None:
        said = exported(operate(stack, "agents", "add", name))
        environment = {**stack.agent_environment, **said}
        settings = AgentSettings(
            supabase_url=environment["SUPABASE_URL"],
            supabase_anon_key=environment["SUPABASE_ANON_KEY"],
            broker_url=environment["BROKER_URL"],
            result_url=environment["RESULT_URL"],
        )
        self._stack = stack
        token = SignIn(settings, name, said["ARGOSY_AGENT_KEY"]).token()
        self.headers = {TOKEN_HEADER: token}
        agent = "SELECT id FROM argosy.agents WHERE name = :name"
        self.id = query(stack, agent, name=name)

    def send(self, path: Path) -> Any:
        """Ask for one upload."""
        return transfer.upload.apply_async((str(path),), headers=self.headers)

    def timed(self, path: Path) -> float:
        """Seconds from asking for one upload to its verified result."""
        start = time.perf_counter()
        self.send(path).get(timeout=RESULT_SECONDS)
        return time.perf_counter() - start

    def count(self, sql: str) -> int:
        """So many of its transfers."""
        return int(query(self._stack, sql, agent=self.id))


def query(stack: Stack, sql: str, **parameters: Any) -> Any:
    """One value from the database."""
    with one_session(stack.postgres.url) as session:
        return session.scalar(text(sql), parameters)


@click.command()
@click.option("--files", default=2000, show_default=True, help="Files of the agent with many.")
@click.option("--size", default=1_000_000, show_default=True, help="Bytes of each file.")
@click.option("--processes", default=2, show_default=True, help="Of the worker that moves bytes.")
def main(*, files: int, size: int, processes: int) -> None:
    """Measure, and print one JSON document."""
    with tempfile.TemporaryDirectory(prefix="argosy-fairness-") as name:
        Path(name).chmod(0o711)
        with Stack(Path(name) / "stack") as stack:
            stack.start_servers()
            stack.bootstrap()
            stack.start_worker("control", 1, "--control")
            stack.start_worker("bytes", processes, "--no-control")
            stack.start_beat()
            with Celery(broker=stack.broker_url, backend=stack.environment["RESULT_URL"]) as app:
                app.set_default()
                click.echo(json.dumps(measure(stack, files, size), indent=2))


def measure(stack: Stack, files: int, size: int) -> dict[str, Any]:
    """Alone, behind the requests, behind the files."""
    many, single = Sender(stack, "many"), Sender(stack, "single")
    path = stack.spool / f"{uuid4()}.bin"
    path.write_bytes(b"\0" * size)
    alone = statistics.median(single.timed(path) for _ in range(20))
    for _ in range(files):
        many.send(path)
    start, ahead = time.perf_counter(), files - many.count(ACCEPTED)
    behind_requests = single.timed(path)
    while many.count(ACCEPTED) < files:
        time.sleep(0.2)
    accepting = time.perf_counter() - start
    waiting = files - many.count(ENDED)
    behind_files = [single.timed(path) for _ in range(10)] if waiting else []
    still = files - many.count(ENDED)
    while many.count(ENDED) < files:
        time.sleep(0.5)
    return {
        "files": files,
        "bytes of each": size,
        "alone, s (median of 20)": round(alone, 3),
        "requests ahead in the queue": ahead,
        "behind them, s": round(behind_requests, 3),
        "requests accepted in a second": round(ahead / accepting, 1),
        "files waiting": [waiting, still],
        "behind them, s (median and worst of 10)": [
            round(statistics.median(behind_files), 3),
            round(max(behind_files), 3),
        ],
        "all, s": round(time.perf_counter() - start, 1),
    }


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.fairness")
