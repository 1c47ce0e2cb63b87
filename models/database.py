"""The way to PostgreSQL: few connections, short transactions, patience when it restarts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

Answer = TypeVar("Answer")

Sessions = sessionmaker[Session]
IDLE_SECONDS = 1.0
"""After which a connection is looked at before it is used."""


def make_engine(url: str) -> Engine:
    """An engine for one process; also right behind a transaction-mode pooler.

    No prepared statements and no session state outlive a transaction, and a connection
    that was idle and that the server has dropped is noticed before it is used. One that
    worked a moment ago is not asked: that would be one more way there and back for each
    transaction, and whoever is patient does it again.
    """
    engine = create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=1,
        max_overflow=2,
        pool_recycle=1800,
        hide_parameters=True,  # errors travel into logs and results
        connect_args={
            "prepare_threshold": None,
            "connect_timeout": 5,
            "tcp_user_timeout": 15_000,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "application_name": "argosy",
        },
    )
    event.listen(engine, "connect", _read_times_in_utc)
    event.listen(engine, "checkin", _note_idle)
    event.listen(engine, "checkin", _forget_isolation)
    event.listen(engine, "checkout", _look_at_idle)
    return engine


_TIMESTAMP = psycopg.adapters.types["timestamptz"].oid
_InItsZone = cast("type[Loader]", psycopg.adapters.get_loader(_TIMESTAMP, Format.TEXT))


class _InUtc(Loader):
    """A moment, in UTC and not in the zone of the database.

    Where that puts its clocks back, Python takes two moments of one zone for an hour less apart.
    """

    def __init__(self, oid: int, context: Any = None) -> None:
        super().__init__(oid, context)
        self._inner = _InItsZone(oid, context)

    def load(self, data: Buffer) -> datetime:
        moment: datetime = self._inner.load(data)
        return moment.astimezone(UTC)


def _read_times_in_utc(connection: psycopg.Connection, _record: object) -> None:
    connection.adapters.register_loader(_TIMESTAMP, _InUtc)


def _note_idle(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()


def _forget_isolation(connection: Any, _record: ConnectionPoolEntry) -> None:
    """A plain BEGIN the next time, also where the last user had a level of its own."""
    if connection is not None and connection.isolation_level is not None:
        connection.isolation_level = None


def _look_at_idle(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Raise DisconnectionError for one that is dead: the pool makes another then."""
    idle_since = record.info.get("idle_since")
    if idle_since is None or time.monotonic() - idle_since < IDLE_SECONDS:
        return
    try:
        connection.execute("")
        connection.rollback()
    except psycopg.Error as error:
        raise DisconnectionError from error


def make_sessions(engine: Engine) -> Sessions:
    """Sessions whose rows stay readable after the commit."""
    return sessionmaker(engine, expire_on_commit=False)


def make_single(engine: Engine) -> Sessions:
    """Sessions for one statement, which is a transaction by itself: two ways there less."""
    return make_sessions(engine.execution_options(isolation_level="AUTOCOMMIT"))


@contextmanager
def one_session(url: str) -> Iterator[Session]:
    """One transaction on a connection of its own, for a command that does one thing."""
    engine = make_engine(url)
    try:
        with make_sessions(engine).begin() as session:
            yield session
    finally:
        engine.dispose()


def is_lost(error: DBAPIError) -> bool:
    """Whether the same transaction may succeed later: the database went away, or was busy.

    By SQLSTATE class: connection (08), resources (53), operator (57, but for a
    cancelled statement), rolled back in favour of another (40), standby (25006).
    """
    state = getattr(error.orig, "sqlstate", None)
    if state is None:
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    if state == "57014":
        return False
    return error.connection_invalidated or state[:2] in {"08", "40", "53", "57"} or state == "25006"


def patiently(work: Callable[[], Answer], wait_seconds: float) -> Answer:
    """Do one transaction; while the database is away, wait and do it again.

    `work` must be safe to repeat: its outcome is unknown when the answer to a
    commit is lost. Raises the last DBAPIError after `wait_seconds`.
    """
    end = time.monotonic() + wait_seconds
    pause = 0.1
    while True:
        try:
            return work()
        except DBAPIError as error:
            if not is_lost(error) or time.monotonic() + pause > end:
                raise
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311  jitter, not a secret
        pause = min(pause * 2, 3.0)
