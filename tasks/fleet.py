"""What every task of one worker process shares: settings, database, storage, spool."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cached_property
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from argosy.errors import Error
from argosy.settings import FleetSettings, fleet_settings
from argosy.storage import pool
from argosy.storage.body import Body
from argosy.storage.control import BucketInfo, ControlPlane
from argosy.storage.retry import RetryPolicy
from argosy.storage.s3 import Endpoint, ObjectStore
from argosy.storage.streams import Streams
from argosy.tokens import Mint, Verifier
from media.workshop import Limits, Workshop
from models import Agent
from models.database import Sessions, make_engine, make_sessions, make_single, patiently
from tasks import measures
from tasks.allowance import Allowance
from tasks.breaker import IMPATIENT, Breaker, look_at
from tasks.buckets import SharedBuckets
from tasks.lease import Lease
from tasks.spool import Spool
from tasks.throttle import Throttle

Answer = TypeVar("Answer")

BUCKET_INFO_SECONDS = 30
"""How long a bucket's limits are taken as known."""


def _as_it_is(body: Body) -> Body:
    return body


class Fleet:
    """The process's way to everything outside it."""

    def __init__(self, settings: FleetSettings) -> None:
        self.settings = settings
        self.mint = Mint(settings)
        self.verifier = Verifier(settings)
        self.spool = Spool(settings.spool)
        self.streams = Streams()
        self._bucket_infos: dict[str, tuple[float, BucketInfo]] = {}

    @cached_property
    def _engine(self) -> Engine:
        return make_engine(self.settings.database_url)

    @cached_property
    def _sessions(self) -> Sessions:
        return make_sessions(self._engine)

    @cached_property
    def _single(self) -> Sessions:
        return make_single(self._engine)

    def transact(self, work: Callable[[Session], Answer]) -> Answer:
        """Do `work` in one transaction; again, while the database is away."""
        return self._patiently(self._sessions, work)

    def ask(self, work: Callable[[Session], Answer]) -> Answer:
        """The same where `work` is one statement, and no more: it is committed with it."""
        return self._patiently(self._single, work)

    def _patiently(self, sessions: Sessions, work: Callable[[Session], Answer]) -> Answer:
        def once() -> Answer:
            with sessions.begin() as session:
                return work(session)

        return patiently(once, self.settings.database_wait_seconds)

    def attempt(self, work: Callable[[Session], Answer]) -> Answer:
        """Do `work` in one transaction, without patience."""
        with self.session() as session:
            return work(session)

    def session(self) -> AbstractContextManager[Session]:
        """One transaction, as long as it lasts; others may go on beside it."""
        return self._sessions.begin()

    @cached_property
    def throttle(self) -> Throttle:
        """How fast bytes may move."""
        settings = self.settings
        return Throttle(
            SharedBuckets.at(settings.result_url),
            self._rate_of,
            fleet_rate=settings.bytes_per_second,
            agents_rate=settings.agent_bytes_per_second,
        )

    def _rate_of(self, agent_id: UUID) -> int | None:
        """An agent's rate. Raises SQLAlchemyError."""

        def work(session: Session) -> int | None:
            return Allowance.of(session.get_one(Agent, agent_id), self.settings).rate

        return self.attempt(work)

    def store_for(self, agent_id: UUID, lease: Lease | None = None) -> ObjectStore:
        """Storage as this agent sees it: row-level security decides.

        With a lease, what goes there keeps to its pace.
        """
        outgoing = _as_it_is if lease is None else lease.paced
        return self._store(lambda: self.mint.token_for(agent_id), outgoing)

    def store_as_service(self) -> ObjectStore:
        """Storage without row-level security: only to remove what nobody else may."""
        return self._store(self.settings.supabase_service_role_key.get_secret_value)

    def _store(
        self, token: Callable[[], str], outgoing: Callable[[Body], Body] = _as_it_is
    ) -> ObjectStore:
        return ObjectStore(self._endpoint, token, retries=self._retries, outgoing=outgoing)

    @property
    def _endpoint(self) -> Endpoint:
        settings = self.settings
        return Endpoint(
            url=f"{settings.supabase_url}/storage/v1/s3",
            project_ref=settings.project_ref,
            anon_key=settings.supabase_anon_key.get_secret_value(),
            region=settings.supabase_region,
        )

    @property
    def _retries(self) -> RetryPolicy:
        return RetryPolicy(
            attempts=self.settings.storage_attempts,
            deadline_seconds=self.settings.storage_deadline_seconds,
            on_retry=self._heard,
        )

    def _heard(self, error: Error, pause: float) -> None:
        """A request is to be repeated. Raises its error, where that is no use."""
        measures.storage_retries.labels(error.code).inc()
        self.breaker.heard(error, pause)

    @cached_property
    def breaker(self) -> Breaker:
        """Whether Storage is away, as the whole fleet knows it."""
        return Breaker(self.settings, self._look_at_storage)

    def _look_at_storage(self) -> None:
        """One request, which does not wait long for its answer."""
        key = self.settings.supabase_service_role_key.get_secret_value
        http, once = pool.client(IMPATIENT), RetryPolicy(attempts=1)
        look_at(ObjectStore(self._endpoint, key, http=http, retries=once), self.settings.bucket)

    def bucket(self, name: str) -> BucketInfo:
        """A bucket's limits. Raises BucketNotFound, StorageUnavailable."""
        known_at, info = self._bucket_infos.get(name, (0.0, None))
        known = info is not None and time.monotonic() - known_at <= BUCKET_INFO_SECONDS
        measures.looked_up("bucket", found=known)
        if info is None or not known:
            info = self.control.get_bucket(name)
            self._bucket_infos[name] = time.monotonic(), info
        return info

    @cached_property
    def workshop(self) -> Workshop:
        """Where strangers' files are decoded, each in a process of its own."""
        return Workshop(Limits.of(self.settings))

    def close(self) -> None:
        """End the processes that it has started, and its connections to the database."""
        if "workshop" in vars(self):
            self.workshop.close()
        if "_engine" in vars(self):
            self._engine.dispose()

    @cached_property
    def control(self) -> ControlPlane:
        """Buckets and removals without row-level security: only to remove what nobody else may."""
        key = self.settings.supabase_service_role_key.get_secret_value()
        return ControlPlane(self.settings.supabase_url, key, retries=self._retries)


_fleets: dict[int, Fleet] = {}


def fleet() -> Fleet:
    """This process's fleet: a forked child makes its own."""
    pid = os.getpid()
    if pid not in _fleets:
        _fleets.clear()
        _fleets[pid] = Fleet(fleet_settings())
    return _fleets[pid]


def close_fleet() -> None:
    """End what this process has made of it, before it ends itself."""
    if made := _fleets.pop(os.getpid(), None):
        made.close()
