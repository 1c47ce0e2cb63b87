"""The deployment of a run: the fleet behind proxies, and the harness beside them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import psutil
import redis
from kombu.exceptions import KombuError
from sqlalchemy import text

from argosy.storage.s3 import Endpoint, ObjectStore
from argosy.tokens import Mint
from local import secrets_file
from local.ports import HOST
from local.servers import ServerFailed
from local.servers.base import Launch, Server
from local.servers.fleet import Beat, Worker
from local.servers.rabbitmq import USER, VHOST, RabbitMQ
from local.stack import Stack
from models.database import one_session
from tasks.messages import INTERNAL
from tests.deployment import QUICK, AgentInTest, Deployment
from tests.faults.harness.cargo import THRESHOLD
from tests.faults.harness.http_proxy import HttpProxy
from tests.faults.harness.proxy import Crossing, Proxy
from worker.queues import DEAD_LETTERS, QUEUES, ROUTES

PART_BYTES = 5 * 1024 * 1024
CRAMPED_MB = 24
"""Size of the small disk."""

SETTINGS = {
    **QUICK,
    "ARGOSY_REPUBLISH_SECONDS": "2",
    "ARGOSY_CHUNK_THRESHOLD": str(THRESHOLD),
    "ARGOSY_PART_SIZE": str(PART_BYTES),
    "ARGOSY_COPY_THRESHOLD": str(PART_BYTES),
    "ARGOSY_COPY_PART_SIZE": str(PART_BYTES),
    "ARGOSY_WINDOW": "4",
    "ARGOSY_SWEEP_SECONDS": "3",
    "ARGOSY_RECONCILE_SECONDS": "20",
}
"""Recovery in seconds, and small parts: what takes a day in production happens in minutes."""
LEASE_SECONDS = float(QUICK["ARGOSY_LEASE_SECONDS"])
SERVERS = ("rabbitmq", "postgres", "valkey", "supabase")


class World(Deployment):
    """Whatever the harness asks for itself goes past the proxies; the fleet's goes through them."""

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None) -> None:
        data = data.resolve()
        data.mkdir(parents=True, exist_ok=True)
        data.chmod(0o711)  # PostgreSQL runs as another user where we are root
        self.storage = HttpProxy("supabase", lambda: self.server("supabase").port)
        self.proxies: dict[str, Proxy] = {
            name: Proxy(name, lambda name=name: self.server(name).port)  # type: ignore[misc]
            for name in SERVERS
        } | {"supabase": self.storage}
        self.temporary, self.cramped = data / "tmp", data / "cramped"
        self.destinations = data / "spool" / "back"
        through = self._through_proxies(data)
        super().__init__(data, {**SETTINGS, **through, **(settings or {})})
        for folder in (self.temporary, self.cramped, self.destinations):
            folder.mkdir(exist_ok=True)
        self.crossing = Crossing()
        self.disk_is_small = self._mount_small_disk()

    def _through_proxies(self, data: Path) -> dict[str, str]:
        secrets = secrets_file.load(data / "secrets.json")
        port = {name: proxy.port for name, proxy in self.proxies.items()}
        return {
            "BROKER_URL": f"amqp://{USER}:{secrets.rabbitmq}@{HOST}:{port['rabbitmq']}/{VHOST}",
            "DATABASE_URL": (
                f"postgresql://fleet:{secrets.fleet_database}@{HOST}:{port['postgres']}/postgres"
            ),
            "RESULT_URL": f"redis://:{secrets.valkey}@{HOST}:{port['valkey']}/0",
            "SUPABASE_URL": f"http://{HOST}:{port['supabase']}",
            "ARGOSY_SPOOL": f"{data / 'spool'}:{self.cramped}",
            "TMPDIR": str(self.temporary),
        }

    # Starting and ending

    def start(self) -> None:
        """Servers, proxies, the project; no worker yet."""
        self.crossing.open(*self.proxies.values())
        super().start()
        self.app.conf.update(
            broker_transport_options={
                "confirm_publish": True,
                "confirm_timeout": 10,
                "read_timeout": 10,
                "write_timeout": 10,
            },
            broker_connection_timeout=3,
        )
        self.mint = Mint(self.settings)

    def stop(self) -> None:
        """End everything; the data folder stays."""
        try:
            super().stop()
        finally:
            self.crossing.close()
            if self.disk_is_small:
                subprocess.run(["umount", "--lazy", self.cramped], check=False)

    def start_fleet(self, workers: int = 2) -> None:
        """Workers of two processes each, and beat."""
        for number in range(1, workers + 1):
            self.start_worker(f"worker{number}")
        self.start_beat()

    def second_beat(self) -> Server:
        """One more than is needed, not started yet."""
        stack: Stack = self._own()
        own = {"ARGOSY_STATE_DIR": str(self.data / "state2")}
        return _SecondBeat(self.data, lambda: {**stack.environment, **own})

    def start_mutant(self, mutation: str, name: str = "mutant", **environment: str) -> Server:
        """A worker in which one of the design's rules is switched off."""
        stack: Stack = self._own()
        worker = _Mutant(mutation, name, self.data, 2, lambda: {**stack.environment, **environment})
        return stack._join(worker)

    def forget(self) -> None:
        """Everything that was asked, stored and answered is gone; servers and agents stay."""
        tables = "argosy.transfers, argosy.events, argosy.acts, argosy.pins"
        stored = "storage.objects, storage.s3_multipart_uploads"
        with one_session(self.settings.operator_url) as session:
            session.execute(text("SET LOCAL session_replication_role = replica"))  # no trigger
            session.execute(text(f"TRUNCATE {tables}, {stored} CASCADE"))
        redis.Redis.from_url(self.environment["RESULT_URL"]).flushdb()
        for queue in (DEAD_LETTERS, *QUEUES):
            self.purge(queue.name)
        self.clear_spool()
        self.destinations.mkdir()

    def purge(self, queue: str) -> None:
        """Lose every message that waits in a queue, if anybody has declared it yet."""
        url = f"{self.management_url}queues/{VHOST}/{queue}/contents"
        answer = httpx.delete(url, timeout=10)
        if answer.status_code != HTTPStatus.NOT_FOUND:
            answer.raise_for_status()

    def messages_in(self, queue: str) -> list[dict[str, Any]]:
        """What waits in a queue; it stays there."""
        url = f"{self.management_url}queues/{VHOST}/{queue}/get"
        wanted = {"count": 10_000, "ackmode": "ack_requeue_true", "encoding": "auto"}
        answer = httpx.post(url, json=wanted, timeout=30).raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found

    def heal(self) -> None:
        """Nothing is broken any more: proxies pass everything, every process runs."""
        for proxy in self.proxies.values():
            proxy.bytes_per_second, proxy.delay_seconds = None, 0.0
            proxy.is_silent = False
            self.crossing.call(proxy.cut_silenced)
        self.storage.forget()
        for server in self._own().servers:
            for process in processes_of(server):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()
            if not server.is_running():
                start_again(server)

    def _mount_small_disk(self) -> bool:
        """A real small disk for some destinations, where this process may mount one."""
        if os.geteuid() != 0:
            return False
        options = ["-o", f"size={CRAMPED_MB}m,mode=777", "tmpfs"]
        done = subprocess.run(
            ["mount", "-t", "tmpfs", *options, self.cramped], capture_output=True, check=False
        )
        return done.returncode == 0

    # Looking, past the proxies

    def _own(self) -> Stack:
        assert self.stack, "the harness breaks the servers it runs on"
        return self.stack

    def server(self, name: str) -> Any:
        """A process of the stack, by its name."""
        return self.stack_of(name)

    @property
    def fleet(self) -> list[Server]:
        """Workers and beats that were started."""
        return [server for server in self._own().servers if isinstance(server, Worker | Beat)]

    @property
    def workers(self) -> list[Server]:
        """Workers that were started."""
        return [server for server in self.fleet if isinstance(server, Worker)]

    @property
    def environment(self) -> dict[str, str]:
        """The fleet's, with the servers' own addresses."""
        stack = self._own()
        return {**stack.environment, **self._directly}

    @property
    def operator_environment(self) -> dict[str, str]:
        """The operator's, with the servers' own addresses."""
        return {**self._own().operator_environment, **self._directly}

    @property
    def _directly(self) -> dict[str, str]:
        stack = self._own()
        return {
            "BROKER_URL": stack.broker_url,
            "DATABASE_URL": stack.postgres.url_for("fleet", stack.secrets.fleet_database),
            "RESULT_URL": stack.valkey.url(0),
            "SUPABASE_URL": stack.supabase.url,
        }

    @property
    def spool(self) -> Path:
        """The roomy one of the two spool folders."""
        path: Path = self._own().spool
        return path

    @property
    def management_url(self) -> str:
        """RabbitMQ's management API, with user and password."""
        broker = self._own().rabbitmq
        assert isinstance(broker, RabbitMQ), "the harness breaks a broker of its own"
        return broker.api_url

    def send_internal(
        self, task: str, arguments: Any, headers: dict[str, str], options: dict[str, str]
    ) -> None:
        """A message of the fleet's own, by its own way."""
        queue = ROUTES[task]["queue"]
        with contextlib.suppress(OSError, KombuError):
            self.app.send_task(
                task,
                arguments,
                headers=headers,
                exchange=INTERNAL,
                routing_key=queue,
                declare=[],
                retry=False,
                **options,
            )

    def store_of(self, agent: AgentInTest) -> ObjectStore:
        """Storage as an agent sees it."""
        settings = self.settings
        endpoint = Endpoint(
            f"{settings.supabase_url}/storage/v1/s3",
            settings.project_ref,
            settings.supabase_anon_key.get_secret_value(),
        )
        return ObjectStore(endpoint, lambda: self.mint.token_for(agent.id))


class _SecondBeat(Beat):
    def __init__(self, data: Path, environment: Any) -> None:
        super().__init__(data, environment)
        self._rename("beat2", data)

    def _rename(self, name: str, data: Path) -> None:
        super(Beat, self).__init__(name, data, ["beat"], self._own_environment)


class _Mutant(Worker):
    """`tests.faults.mutant` instead of `argosy`."""

    def __init__(self, mutation: str, *arguments: Any) -> None:
        self._mutation = mutation
        super().__init__(*arguments)

    def _prepare(self) -> Launch:
        launch = super()._prepare()
        program = [sys.executable, "-m", "tests.faults.mutant", self._mutation]
        return Launch([*program, *launch.command[1:]], launch.environment, launch.folder)


def processes_of(server: Server) -> list[psutil.Process]:
    """The main process of a server and all below it, the oldest first."""
    try:
        main = psutil.Process(server.pid or -1)
        return [main, *main.children(recursive=True)]
    except (psutil.NoSuchProcess, ValueError):
        return []


def start_again(server: Server, seconds: float = 60) -> None:
    """Start a server; again, while others that it needs at its start are broken too."""
    end = time.monotonic() + seconds
    while True:
        try:
            return server.start()
        except ServerFailed:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


@contextlib.contextmanager
def world(data: Path, settings: Mapping[str, str] | None = None) -> Iterator[World]:
    """A world whose servers run; ended whatever happens."""
    made = World(data, settings)
    try:
        made.start()
        yield made
    finally:
        made.stop()
