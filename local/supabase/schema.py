"""Applying the schema, and putting disk and rows in agreement after a crash."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import psycopg
from psycopg import sql

from local.supabase.disk import Disk

_SCHEMA = Path(__file__).with_name("schema.sql")
_PATIENCE = 30.0


def apply_schema(url: str) -> None:
    """Apply the idempotent schema; wait for a database that is still starting."""
    with connect(url) as connection:
        connection.execute(_SCHEMA.read_bytes())
        mark = sql.SQL("COMMENT ON SCHEMA storage IS {}").format(_fingerprint())
        connection.execute(mark)


def ensure_schema(url: str) -> None:
    """Apply the schema unless this very one is there: it takes locks that others would feel."""
    with connect(url) as connection:
        query = "SELECT obj_description(oid) FROM pg_namespace WHERE nspname = 'storage'"
        row = connection.execute(query).fetchone()
    if row is None or row[0] != _fingerprint():
        apply_schema(url)


def _fingerprint() -> str:
    return hashlib.sha256(_SCHEMA.read_bytes()).hexdigest()


def connect(url: str) -> psycopg.Connection:
    """Connect, trying again while the database starts."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return psycopg.connect(url, connect_timeout=5)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)  # between two questions to a server that is not ours to wait on


def sweep(url: str, disk: Disk) -> None:
    """Remove the bytes that a killed server left without a row."""
    with connect(url) as connection:
        _sweep_objects(connection, disk)
        _sweep_uploads(connection, disk)


def _sweep_objects(connection: psycopg.Connection, disk: Disk) -> None:
    doubtful = disk.unsettled()
    query = "SELECT version FROM storage.objects WHERE version = ANY (%s)"
    known = {row[0] for row in connection.execute(query, (doubtful,))}
    for version in doubtful:
        if version in known:
            disk.settle(version)
        else:
            disk.remove_object(version)


def _sweep_uploads(connection: psycopg.Connection, disk: Disk) -> None:
    pending = disk.pending_uploads()
    query = "SELECT id FROM storage.s3_multipart_uploads WHERE id = ANY (%s)"
    known = {row[0] for row in connection.execute(query, (pending,))}
    for upload_id in set(pending) - known:
        disk.remove_upload(upload_id)
