"""All of it together: a database, a broker, a Storage, and workers at their tasks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from logging import CRITICAL
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest import mock
from uuid import UUID, uuid5

import structlog
from celery.app.trace import reset_worker_optimizations, setup_worker_optimizations
from sqlalchemy import make_url, text
from sqlalchemy.orm import Session

import tasks.claims
import tasks.fleet
from argosy.auth import TOKEN_HEADER
from argosy.naming import object_name
from argosy.reference import FileReference
from argosy.settings import FleetSettings
from argosy.storage.control import BucketInfo
from models import Agent
from models.database import make_engine, make_sessions
from tasks.breaker import Breaker
from tasks.buckets import OwnBuckets
from tasks.fleet import Fleet
from tasks.lease import Lease
from tasks.messages import CONTROL, REQUESTS
from tasks.seal import SEAL_HEADER, seal
from tasks.throttle import Throttle
from tests.steered.broker import SPACE, Broker, Message, Results, Tasks
from tests.steered.moments import break_connections
from tests.steered.storage import Ends, Storage, Store, md5
from tests.steered.workers import SteeredLease, Worker
from worker.bootstrap import bring_up_database

Answer = TypeVar("Answer")

LONG = 1000.0
"""Seconds of each lease and each wait for a message: no test takes so long."""
PAST = LONG * 1.5
BUCKET = "agent-transfers"
OF_TRANSFERS = (
    "chunks",
    "provenance",
    "continuations",
    "derivatives",
    "transfers",
    "events",
    "acts",
    "grants",
)
"""Tables that a transfer leaves rows in."""
THRESHOLD, PART, WINDOW = 20, 10, 2
SMALL, LARGE = 15, 45
"""Bytes of a file that is one chunk, and of one that is five parts."""


class NoBreaker(Breaker):
    """What there is while Valkey is away."""

    def _valkey(self, ask: Callable[[Any], Any]) -> Any:
        return None


class SteeredFleet(Fleet):
    """The process's fleet, with a Storage in memory."""

    def __init__(self, settings: FleetSettings, storage: Storage) -> None:
        super().__init__(settings)
        self._storage = storage
        break_connections(self._engine)

    def store_for(self, agent_id: UUID, lease: Lease | None = None) -> Any:
        """Everybody sees everything."""
        return Store(self._storage, lease.paced) if lease else Store(self._storage)

    def store_as_service(self) -> Any:
        """The same."""
        return Store(self._storage)

    @cached_property
    def throttle(self) -> Throttle:
        """Nobody has a limit."""
        return Throttle(OwnBuckets(), lambda _agent: None)

    @cached_property
    def breaker(self) -> Breaker:
        """There is no Valkey, so there is none."""
        return NoBreaker(self.settings, lambda: None)

    def bucket(self, name: str) -> BucketInfo:
        """One without limits."""
        return BucketInfo(name, public=False, size_limit=None, allowed_types=None)


def settings_for(url: str, spool: Path) -> FleetSettings:
    """Parts of ten bytes, and times that never pass by themselves."""
    made = FleetSettings(
        supabase_url="http://127.0.0.1:9",
        supabase_anon_key="anon",
        supabase_service_role_key="service",
        supabase_jwt_secret="x" * 40,
        broker_url="amqp://127.0.0.1:9",
        result_url="redis://127.0.0.1:9",
        database_url=make_url(url).set(username="fleet", password="f").render_as_string(False),
        operator_database_url=url,
        spool=str(spool),
        window=WINDOW,
        lease_seconds=LONG,
        republish_seconds=LONG,
        max_attempts=6,
        transfers_at_once=2,
        give_up_hours=1e9,
        bucket=BUCKET,
    )
    tiny = {"chunk_threshold": THRESHOLD, "part_size": PART, "progress_seconds": 1e9}
    return made.model_copy(update={**tiny, "copy_threshold": THRESHOLD, "copy_part_size": PART})


class World:
    """What a test steers."""

    def __init__(self, url: str, spool: Path) -> None:
        self.spool = spool
        self.storage = Storage(url)
        settings = settings_for(url, spool)
        bring_up_database(settings)
        self.fleet = SteeredFleet(settings, self.storage)
        self.broker = Broker()
        self.tasks = Tasks(self.broker)
        self.workers: list[Worker] = []
        self._sessions = make_sessions(make_engine(url))
        self._count = 0
        self.agent = uuid5(SPACE, "agent")
        self.stored = {size: self._reference(size) for size in (SMALL, LARGE)}
        """Files that are stored from the beginning; the books do not know them."""
        self.look(self._furnish)

    def _furnish(self, session: Session) -> None:
        session.execute(
            text("INSERT INTO storage.buckets (id, name) VALUES (:b, :b)"), {"b": BUCKET}
        )
        session.add(Agent(id=self.agent, name="agent"))

    def _reference(self, size: int) -> FileReference:
        content = content_of(size)
        self.source(size).write_bytes(content)
        file_id = uuid5(SPACE, f"file of {size}")
        return FileReference(
            id=file_id,
            bucket=BUCKET,
            path=object_name(self.agent, file_id, "stored"),
            name="stored",
            size=size,
            content_type="text/plain",
            sha256=sha256(content).hexdigest(),
            md5=md5(content),
            owner=self.agent,
            created_at=datetime.now(UTC),
            chunk_size=size,
            chunk_count=1,
        )

    def source(self, size: int) -> Path:
        """The file of that size."""
        return self.spool / f"{size}-bytes"

    def look(self, work: Callable[[Session], Answer]) -> Answer:
        """A transaction of the test's own, on another connection."""
        with self._sessions.begin() as session:
            return work(session)

    def reset(self) -> None:
        """As it was in the beginning."""
        self.workers.clear()
        self.broker.clear()
        self.storage.objects.clear()
        self.storage.uploads.clear()
        Results.recorded.clear()
        self._count = 0
        for path in self.spool.iterdir():
            if path.name.startswith((".argosy", "to-")):
                path.unlink()
        self.look(_empty)
        for size, file in self.stored.items():
            self.storage.add((file.bucket, file.path), content_of(size), file.md5 or "", {})

    def set(self, **settings: Any) -> None:
        """Change the fleet's settings."""
        self.fleet.settings = self.fleet.settings.model_copy(update=settings)

    def ask(self, task: str, *args: Any, **kwargs: Any) -> Message:
        """A request of the agent's, on its way."""
        self._count += 1
        message = Message(
            task,
            args,
            str(uuid5(SPACE, f"request {self._count}")),
            kwargs,
            headers={TOKEN_HEADER: self.fleet.mint.token_for(self.agent)},
            queue=CONTROL if task.endswith(("cancel", "pause")) else REQUESTS,
        )
        self.broker.put(message)
        return message

    def deliver(self, message: Message) -> Worker:
        """Give a message to a worker, which has not looked at it yet."""
        worker = Worker(self.tasks, message, len(self.workers))
        self.workers.append(worker)
        return worker

    def busy(self) -> list[Worker]:
        """Workers that stand before a call of Storage."""
        return [worker for worker in self.workers if worker.at is not None]

    def own(self, task: str, *args: Any) -> Message:
        """A message of the fleet's own, taken out of the queue at once."""
        self.broker.publish(task, args, None, self._sealed(task, args))
        message = self.broker.sent[-1]
        self.broker.waiting.remove(message)
        return message

    def end(self) -> None:
        """Kill the workers that still stand somewhere."""
        for worker in self.busy():
            worker.step(Ends.KILLED)

    def _sealed(self, task: str, args: tuple[Any, ...]) -> dict[str, str]:
        return {SEAL_HEADER: seal(self.fleet.settings, task, args)}

    def overdue(self, transfer_id: UUID | None = None, *, leases: bool) -> None:
        """Every wait for a message is over; with `leases`, every lease too."""
        self.look(lambda session: _overdue(session, transfer_id, leases=leases))

    def close(self) -> None:
        """Let go of the database."""
        self.storage.close()
        self.fleet.close()


def content_of(size: int) -> bytes:
    """The bytes of a file: each part is another."""
    return bytes(ord("a") + number // PART for number in range(size))


def _empty(session: Session) -> None:
    """No row is left of the test before; triggers would keep some, and foreign keys cost time."""
    session.execute(text("SET LOCAL session_replication_role = replica"))
    for table in ("storage.objects", *(f"argosy.{name}" for name in OF_TRANSFERS)):
        session.execute(text(f"DELETE FROM {table}"))


def _overdue(session: Session, transfer_id: UUID | None, *, leases: bool) -> None:
    """Into the past, so far that no clock of the test's matters."""
    past = f"now() - interval '{PAST} seconds'"
    values = {"id": transfer_id}
    for table, key in (
        ("transfers", "id"),
        ("chunks", "transfer_id"),
        ("derivatives", "transfer_id"),
    ):
        held = "" if leases else " AND (lease_until IS NULL OR lease_until < now())"
        ended = f", lease_until = CASE WHEN lease_until IS NULL THEN NULL ELSE {past} END"
        session.execute(
            text(
                f"UPDATE argosy.{table} SET republish_at = {past}{ended if leases else ''}"
                f" WHERE (CAST(:id AS uuid) IS NULL OR {key} = :id){held}"
            ),
            values,
        )
    session.execute(
        text(
            f"UPDATE argosy.continuations SET republish_at = {past}"
            " WHERE (CAST(:id AS uuid) IS NULL OR transfer_id = :id)"
        ),
        values,
    )
    session.execute(
        text(
            f"UPDATE argosy.transfers SET ended_at = ended_at - interval '{PAST} seconds'"
            " WHERE CAST(:id AS uuid) IS NULL OR id = :id"
        ),
        values,
    )


class Clock(SimpleNamespace):
    """A clock for those who would sleep."""

    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(lambda _seconds: None)


def told(lease_of: Callable[[Any], SteeredLease]) -> Callable[[Any], SteeredLease]:
    """The same lease, which knows what it is of."""

    def lease(claim: Any) -> SteeredLease:
        made = lease_of(claim)
        made.claim = claim
        return made

    return lease


@contextmanager
def steered(url: str, spool: Path) -> Iterator[World]:
    """A world in which this process is the whole fleet."""
    world = World(url, spool)
    nobody = SimpleNamespace(uniform=lambda _low, _high: LONG)
    with ExitStack() as stack:
        stack.callback(world.close)
        stack.enter_context(mock.patch.dict(tasks.fleet._fleets, {os.getpid(): world.fleet}))
        stack.enter_context(mock.patch("tasks.claims.Lease", SteeredLease))
        stack.enter_context(mock.patch("tasks.claims._lease", told(tasks.claims._lease)))
        stack.enter_context(mock.patch("tasks.claims.random", nobody))
        stack.enter_context(mock.patch("models.database.time", Clock()))
        stack.enter_context(mock.patch("argosy.storage.parts._MIB", 1))
        stack.enter_context(mock.patch("tasks.follow.store_progress", lambda *_: None))
        stack.callback(structlog.configure, **structlog.get_config())
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(CRITICAL))
        setup_worker_optimizations(world.tasks.app, "steered")
        stack.callback(reset_worker_optimizations, world.tasks.app)
        yield world
