"""Counts PostgreSQL's statements by `pg_stat_statements`, where the server has that.

It is loaded from the beginning, which a server must be, but counts only while it is asked to:
other figures are of a server that does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from local.servers.postgres import Postgres

_AVAILABLE = "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
_LOADED = "SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements'"


def load(postgres: Postgres) -> None:
    """Restart the server with it; before anything else uses it."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        if connection.execute(_AVAILABLE).fetchone() is None:
            return
        connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
    postgres.stop()
    postgres.start()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        _track(connection, "none")


@contextmanager
def counting(url: str) -> Iterator[bool]:
    """Count within; says whether the server can."""
    with psycopg.connect(url, autocommit=True) as connection:
        loaded = connection.execute(_LOADED).fetchone() is not None
        if loaded:
            _track(connection, "top")
        try:
            yield loaded
        finally:
            if loaded:
                _track(connection, "none")


def _track(connection: psycopg.Connection, what: str) -> None:
    connection.execute(f"ALTER SYSTEM SET pg_stat_statements.track = '{what}'".encode())
    connection.execute("SELECT pg_reload_conf()")
