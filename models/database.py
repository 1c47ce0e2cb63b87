"""The way to PostgreSQL: few connections, short transactions, patience when it restarts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

Answer = TypeVar("Answer")

Sessions = sessionmaker[Session]


def make_engine(url: str) -> Engine:
    """An engine for one process; also right behind a transaction-mode pooler.

    No prepared statements and no session state outlive a transaction, and a
    connection that the server has dropped is noticed before it is used.
    """
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=1,
        max_overflow=2,
        pool_pre_ping=True,
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


def make_sessions(engine: Engine) -> Sessions:
    """Sessions whose rows stay readable after the commit."""
    return sessionmaker(engine, expire_on_commit=False)


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
