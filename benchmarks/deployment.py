"""The servers under measurement, and one agent of theirs."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any
from uuid import UUID

import jwt
from celery import Celery
from sqlalchemy import text

import argosy
from argosy.auth import SignIn
from argosy.settings import AgentSettings
from argosy.storage.control import ControlPlane
from argosy.storage.s3 import Endpoint, ObjectStore
from benchmarks import statements
from benchmarks.cargo import BenchmarkFailed
from benchmarks.measure import Answer, Sample, Series, timed
from benchmarks.processes import Tree, Watch, family, largest
from local.environment_file import exported
from local.servers.base import Server
from local.stack import Stack
from models.database import one_session

ARGOSY = str(Path(sys.executable).parent / "argosy")
BUCKET = "agent-transfers"
CHILDREN = 8
"""Worker processes of the fleet: the default of `argosy worker`."""

CLIENT, WORKER, STORAGE, BROKER = "client", "worker", "storage server", "RabbitMQ"
POSTGRES, VALKEY = "PostgreSQL", "Valkey"
BROKER_BEFORE, BROKER_PEAK = "bytes of the broker before", "bytes of the broker at its highest"

_LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class S3Keys:
    """Static S3 keys of the server, for tools that know no session token."""

    access: str = field(default_factory=lambda: secrets.token_hex(16))
    secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)


class Deployment:
    """A running stack without a fleet, an agent that is signed in, and the way to its objects."""

    def __init__(self, stack: Stack, s3_keys: S3Keys) -> None:
        self.stack = stack
        self.s3_keys = s3_keys
        self._tool: tuple[str, int] | None = None
        self._helpers: dict[str, Tree] = {}
        self._worker: Server | None = None
        self._beat: Server | None = None
        self.watch = Watch(self.trees)
        self._session = self._add_agent()
        self._service_key = stack.environment["SUPABASE_SERVICE_ROLE_KEY"]

    @property
    def s3_url(self) -> str:
        """Where the S3 protocol is."""
        return f"{self.stack.supabase.url}/storage/v1/s3"

    @property
    def agent_id(self) -> UUID:
        """The agent's id, which is also the name of its folder in the bucket."""
        claims = jwt.decode(self.token(), options={"verify_signature": False})
        return UUID(claims["sub"])

    def token(self) -> str:
        """The agent's access token, good for some minutes."""
        return self._session.token()

    def store(self, url: str = "") -> ObjectStore:
        """Storage, as the agent sees it, at its own address or through another."""
        environment = self.stack.environment
        s3_url = f"{url or self.stack.supabase.url}/storage/v1/s3"
        endpoint = Endpoint(
            s3_url, environment["SUPABASE_PROJECT_REF"], environment["SUPABASE_ANON_KEY"]
        )
        return ObjectStore(endpoint, self.token)

    def query(self, sql: str, **parameters: Any) -> Sequence[Any]:
        """Rows of a question to the database, as its owner."""
        with one_session(self.stack.postgres.url) as session:
            return session.execute(text(sql), parameters).all()

    def remove(self, *keys: str) -> None:
        """Remove objects, so that the disk does not fill."""
        ControlPlane(self.stack.supabase.url, self._service_key).remove(BUCKET, keys)

    @contextmanager
    def fleet(
        self, part_size: int | None = None, children: int = CHILDREN, **settings: str
    ) -> Iterator[None]:
        """A worker of so many processes, with these settings, and beat.

        Parts have this size, or the usual one.
        """
        if part_size is not None:
            settings["ARGOSY_PART_SIZE"] = str(part_size)
        self._worker = self.stack.start_worker("fleet", children, **settings)
        self._beat = self.stack.start_beat()
        try:
            yield
        finally:
            self._worker.stop()
            self._beat.stop()
            self._worker = self._beat = None

    def trees(self) -> dict[str, Tree]:
        """Every process that takes part, by role."""
        stack, broker = self.stack, self.stack.rabbitmq
        pids = {
            STORAGE: stack.supabase.pid,
            WORKER: self._worker and self._worker.pid,
            "beat": self._beat and self._beat.pid,
        }
        others = {
            POSTGRES: stack.postgres.pid,
            VALKEY: stack.valkey.pid,
            BROKER: broker and broker.pid,
        }
        tool = {self._tool[0]: Tree(self._tool[1])} if self._tool else {}
        return {
            CLIENT: Tree(os.getpid(), descendants=False),
            **tool,
            **self._helpers,
            **{role: Tree(pid) for role, pid in pids.items() if pid},
            **{role: Tree(pid, memory=role == BROKER) for role, pid in others.items() if pid},
        }

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str], said: str = ""
    ) -> int | None:
        """Run a tool and wait for it; what is `said` to it, it reads from its standard input.

        Returns the most memory that one process of it has had, as far as it was seen: it is
        looked at every few milliseconds. Raises BenchmarkFailed when it fails.
        """
        name = Path(command[0]).name
        with subprocess.Popen(
            command, env=environment, text=True, stdin=PIPE, stdout=PIPE, stderr=STDOUT
        ) as child:
            self._tool = name, child.pid
            output, peak = _watched(child, said)
            self._tool = None
        if child.returncode:
            raise BenchmarkFailed(f"{name} ended with {child.returncode}: {output.strip()[-300:]}")
        return peak

    def gauged(self, series: Series, work: Callable[[], Answer]) -> tuple[Sample, Answer]:
        """Measure some work: time, CPU time, the memory of its mover, and that of the broker."""
        with self.watch.peak_of(series.mover) as peak, self.watch.peak_of(BROKER) as broker:
            before = broker()
            sample, answer = timed(series, work, self.watch.cpu)
            facts = {BROKER_BEFORE: before or 0, BROKER_PEAK: broker() or 0} if before else {}
            return replace(sample, peak=peak(), facts=facts), answer

    def tool(self, series: Series, work: Callable[[], int | None]) -> Sample:
        """The same where the work says itself how much memory it took, or nothing."""
        sample, peak = self.gauged(series, work)
        return sample if peak is None else replace(sample, peak=peak)

    def add_helper(self, role: str, pid: int) -> None:
        """Watch one more process, under a role of its own."""
        self._helpers[role] = Tree(pid)

    def remove_helper(self, role: str) -> None:
        """Watch it no longer."""
        self._helpers.pop(role, None)

    def _add_agent(self) -> SignIn:
        operate(self.stack, "bootstrap")
        printed = operate(self.stack, "agents", "add", "benchmark")
        said = exported(printed)
        self.agent_environment = {**self.stack.agent_environment, **said}
        settings = AgentSettings.model_validate(_fields(self.agent_environment))
        return argosy.login(said["ARGOSY_AGENT"], said["ARGOSY_AGENT_KEY"], settings)


@contextmanager
def deployment(data: Path) -> Iterator[Deployment]:
    """Start the servers, and end them whatever happens."""
    keys = S3Keys()
    with Stack(data) as stack:
        with _in_environment(S3_ACCESS_KEY_ID=keys.access, S3_SECRET_ACCESS_KEY=keys.secret):
            stack.start_backends()
            statements.load(stack.postgres)
            stack.supabase.start()
        app = Celery("benchmark", broker=stack.broker_url, backend=stack.environment["RESULT_URL"])
        app.conf.broker_transport_options = {"confirm_publish": True}
        app.set_default()
        try:
            yield Deployment(stack, keys)
        finally:
            app.close()


@contextmanager
def _in_environment(**variables: str) -> Iterator[None]:
    """Variables for the servers that are started within."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


def operate(stack: Stack, *arguments: str) -> str:
    """Run a command of `argosy` as the operator, and return what it printed."""
    done = subprocess.run(
        [ARGOSY, *arguments],
        env={**os.environ, **stack.operator_environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkFailed(f"`argosy {' '.join(arguments)}` failed: {done.stderr[-500:]}")
    return done.stdout


def _watched(child: subprocess.Popen[str], said: str) -> tuple[str, int | None]:
    """What a program has printed when it ends, and the most memory of one process of it."""
    peak: int | None = None
    talk: str | None = said
    while True:
        try:
            return child.communicate(talk, timeout=_LOOK_SECONDS)[0], peak
        except subprocess.TimeoutExpired:
            talk = None
            seen = largest(family(child.pid))
            peak = max((one for one in (peak, seen) if one is not None), default=None)


def _fields(environment: dict[str, str]) -> dict[str, str]:
    names = ("SUPABASE_URL", "SUPABASE_ANON_KEY", "BROKER_URL", "RESULT_URL")
    fields = {name: environment[name] for name in names}
    return {**fields, "session_dir": environment["ARGOSY_SESSION_DIR"]}
