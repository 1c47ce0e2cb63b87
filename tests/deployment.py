"""The deployment under test: the local stack, or (`make test-remote`) a real project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import UUID, uuid4

from celery import Celery
from sqlalchemy import text
from sqlalchemy.orm import Session

from argosy.auth import SignIn
from argosy.settings import AgentSettings, FleetSettings
from local.servers.fleet import Beat, Worker
from local.stack import Stack
from models import Chunk, Role, Transfer
from models.database import one_session
from worker.agents import add_agent

Answer = TypeVar("Answer")
ARGOSY = str(Path(sys.executable).parent / "argosy")

QUICK = {
    "ARGOSY_LEASE_SECONDS": "6",
    "ARGOSY_RESUME_SECONDS": "1",
    "ARGOSY_REPUBLISH_SECONDS": "4",
    "ARGOSY_BURY_SECONDS": "2",
    "ARGOSY_STORAGE_DEADLINE_SECONDS": "20",
    "FLOWER_UNAUTHENTICATED_API": "true",
}
"""Recovery in seconds instead of minutes, and a Flower to ask; else as in production."""


TWO_WORKERS = MappingProxyType({"one": "", "two": ""})


def remote() -> bool:
    """Whether the environment names a real project to test against."""
    return os.environ.get("ARGOSY_TEST_REMOTE") == "1"


def until(
    condition: Callable[[], Answer], seconds: float = 60, *, what: str = "the condition"
) -> Answer:
    """Wait for a condition to hold, and return what it gave."""
    end = time.monotonic() + seconds
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come about within {seconds} s")
        time.sleep(0.05)


@dataclass
class AgentInTest:
    """An agent that the tests made: it sends as itself."""

    id: UUID
    name: str
    key: str = field(repr=False)
    settings: AgentSettings = field(repr=False)

    def token(self) -> str:
        """A fresh access token."""
        return SignIn(self.settings, self.name, self.key).token()


class Deployment:
    """Servers, a fleet, and ways to look at both from outside."""

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = data
        self._settings = {**QUICK, **(settings or {})}
        self.stack = None if remote() else Stack(data, broker="rabbitmq", settings=self._settings)
        self._fleet: list[Worker | Beat] = []

    def start(self) -> None:
        """Start the servers, if they are ours, and make the project ready."""
        if self.stack:
            self.stack.start_servers()
        self.run("bootstrap")
        self.app = Celery(
            "agent", broker=self.environment["BROKER_URL"], backend=self.environment["RESULT_URL"]
        )
        self.app.conf.update(broker_transport_options={"confirm_publish": True})
        self.app.set_default()

    def stop(self) -> None:
        """End every process that was started."""
        self.app.close()
        if self.stack:
            self.stack.stop()
        for server in reversed(self._fleet):
            server.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What the fleet runs with."""
        if self.stack:
            return self.stack.environment
        spool = self.data / "spool"
        spool.mkdir(parents=True, exist_ok=True)
        return {**os.environ, **self._settings, "ARGOSY_SPOOL": str(spool)}

    @property
    def operator_environment(self) -> dict[str, str]:
        """What the operator's commands run with."""
        return self.stack.operator_environment if self.stack else self.environment

    @property
    def settings(self) -> FleetSettings:
        """The operator's settings."""
        names = {
            name: value
            for name, value in self.operator_environment.items()
            if name.startswith(("ARGOSY_", "SUPABASE_", "DATABASE_", "BROKER_", "RESULT_"))
        }
        fields = {
            (info.validation_alias or f"ARGOSY_{field.upper()}"): field
            for field, info in FleetSettings.model_fields.items()
        }
        return FleetSettings(
            **{fields[name]: value for name, value in names.items() if name in fields}
        )

    @property
    def spool(self) -> Path:
        """The spool folder."""
        return Path(self.environment["ARGOSY_SPOOL"])

    def run(self, *arguments: str) -> str:
        """Run a command of `argosy` as the operator, and return its output."""
        environment = {**os.environ, **self.operator_environment}
        done = subprocess.run(
            [ARGOSY, *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start_worker(
        self, name: str, concurrency: int = 2, *options: str, **environment: str
    ) -> Any:
        """Start a worker process."""
        if self.stack:
            return self.stack.start_worker(name, concurrency, *options, **environment)
        worker = Worker(
            name, self.data, concurrency, lambda: {**self.environment, **environment}, *options
        )
        self._fleet.append(worker)
        worker.start()
        return worker

    def start_beat(self) -> Any:
        """Start beat."""
        if self.stack:
            return self.stack.start_beat()
        beat = Beat(self.data, lambda: self.environment)
        self._fleet.append(beat)
        beat.start()
        return beat

    def stack_of(self, name: str) -> Any:
        """One process of the local stack: a server, or a worker by its name."""
        assert self.stack, "only the local stack's processes can be handled"
        return next(server for server in self.stack.servers if server.name == name)

    def add_agent(self, role: str = "worker") -> AgentInTest:
        """Create an agent, as the operator's command does."""
        added = add_agent(self.settings, f"test-{uuid4().hex[:12]}", Role(role))
        return AgentInTest(added.id, added.name, added.key, self.settings)

    def transact(self, work: Callable[[Session], Answer]) -> Answer:
        """Do something in the database, from outside."""
        with one_session(self.settings.operator_url) as session:
            return work(session)

    def query(self, sql: str, **parameters: Any) -> list[Any]:
        """Rows of a query."""
        return self.transact(lambda session: list(session.execute(text(sql), parameters)))

    def transfer(self, transfer_id: str) -> Transfer:
        """A transfer's row."""
        return self.transact(lambda session: session.get_one(Transfer, UUID(transfer_id)))

    def chunks(self, transfer_id: str) -> list[Chunk]:
        """A transfer's ledger."""
        ordered = "SELECT * FROM argosy.chunks WHERE transfer_id = :id ORDER BY number"
        return self.query(ordered, id=transfer_id)

    def objects(self, agent: AgentInTest) -> list[str]:
        """Names of all objects in an agent's folder."""
        rows = self.query(
            "SELECT name FROM storage.objects WHERE name LIKE :folder", folder=f"{agent.id}/%"
        )
        return sorted(row.name for row in rows)

    def unfinished_uploads(self, agent: AgentInTest) -> list[str]:
        """Multipart uploads in an agent's folder that nobody completed or aborted."""
        rows = self.query(
            "SELECT id FROM storage.s3_multipart_uploads WHERE key LIKE :folder",
            folder=f"{agent.id}/%",
        )
        return [row.id for row in rows]

    def make_file(self, name: str, size: int) -> Path:
        """A file of random bytes in the spool."""
        path = self.spool / name
        with path.open("wb") as file, Path("/dev/urandom").open("rb") as noise:
            left = size
            while left:
                left -= file.write(noise.read(min(left, 1 << 20)))
        return path

    def clear_spool(self) -> None:
        """Remove what the tests left in the spool, unless a worker is quicker."""
        for entry in self.spool.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)


@contextmanager
def deployed(
    data: Path,
    settings: Mapping[str, str] | None = None,
    *,
    workers: Mapping[str, str] = TWO_WORKERS,
) -> Iterator[Deployment]:
    """A deployment with two workers, or these by name and option, and beat; ended in any case."""
    made = Deployment(data, settings)
    try:
        made.start()
        for name, option in workers.items():
            made.start_worker(name, 2, *option.split())
        made.start_beat()
        yield made
    finally:
        made.stop()
