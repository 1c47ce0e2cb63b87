"""Memory does not know the file's size."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from argosy.storage.body import FileRange
from argosy.storage.checksum import digest_file
from argosy.storage.s3 import ObjectStore

from .scripted import ScriptedServer, send_head, stored

SIZE = 192 * 1024 * 1024
ALLOWED = 12 * 1024 * 1024
"""Both ends are measured: the server of the tests lives in the same process."""


@contextmanager
def bounded_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < ALLOWED


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    path = tmp_path / "sparse"
    with path.open("wb") as target:
        target.truncate(SIZE)
    return path


def test_sending(server: ScriptedServer, store: ObjectStore, sparse: Path) -> None:
    server.script(stored())
    with sparse.open("rb") as source, bounded_memory():
        store.upload_part("b", "k", "up", 1, FileRange(source.fileno(), 0, SIZE))
    assert server.requests[0].body_bytes == SIZE


def test_reading(server: ScriptedServer, store: ObjectStore) -> None:
    def zeros(request, connection):
        send_head(connection, 200, SIZE, {"ETag": "v1"})
        block = bytes(1024 * 1024)
        for _ in range(SIZE // len(block)):
            connection.sendall(block)

    server.script(zeros)
    with bounded_memory():
        assert sum(map(len, store.get("b", "k"))) == SIZE


def test_digesting(sparse: Path) -> None:
    with sparse.open("rb") as source, bounded_memory():
        digest_file(source.fileno(), SIZE)
