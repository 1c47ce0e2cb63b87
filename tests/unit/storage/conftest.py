from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.storage import pool
from argosy.storage.body import FileRange
from argosy.storage.retry import RetryPolicy
from argosy.storage.s3 import Endpoint, ObjectStore

from .scripted import ScriptedServer

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZ2VudCJ9.c2lnbmF0dXJl"
ANON_KEY = "anon-key-of-the-project"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def pauses() -> list[float]:
    """The pauses that were asked for; none is made."""
    return []


@pytest.fixture
def retries(pauses: list[float]) -> RetryPolicy:
    return RetryPolicy(sleep=pauses.append)


@pytest.fixture
def endpoint(server: ScriptedServer) -> Endpoint:
    return Endpoint(f"{server.url}/storage/v1/s3", "project", ANON_KEY)


@pytest.fixture
def store(endpoint: Endpoint, retries: RetryPolicy) -> Iterator[ObjectStore]:
    with pool.new_client(pool.PoolSettings(read=5)) as http:
        yield ObjectStore(endpoint, lambda: TOKEN, http=http, retries=retries, stall_seconds=5)


@pytest.fixture
def hasty(endpoint: Endpoint, retries: RetryPolicy) -> Iterator[ObjectStore]:
    """A store that is soon tired of a server that says nothing, or too little."""
    with pool.new_client(pool.PoolSettings(read=0.3)) as http:
        yield ObjectStore(endpoint, lambda: TOKEN, http=http, retries=retries, stall_seconds=0.2)


@pytest.fixture
def part(tmp_path: Path) -> Iterator[FileRange]:
    """3 MiB and a bit, in the middle of a file."""
    path = tmp_path / "source"
    path.write_bytes(b"before" + bytes(range(256)) * (12 * 1024 + 1) + b"after")
    with path.open("rb") as source:
        yield FileRange(source.fileno(), 6, 256 * (12 * 1024 + 1))
