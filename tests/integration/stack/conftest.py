from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import kombu
import psycopg
import pytest

from local.servers import fleet
from local.servers.broker import EXISTING
from local.stack import Stack

QUEUE = kombu.Queue("cargo", durable=True, queue_arguments={"x-queue-type": "quorum"})
WRITTEN_DOWN_AFTER = 4.0
"""RabbitMQ has a new queue, or user, on the disk some seconds after it said so."""

FAKE_ARGOSY = Path(__file__).parent / "fake_argosy.py"


@pytest.fixture(autouse=True, scope="session")
def no_existing_broker() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(EXISTING, raising=False)
        yield


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, Valkey and RabbitMQ, for all tests that leave them as they were."""
    stack = Stack(tmp_path_factory.mktemp("stack"), broker="rabbitmq")
    stack.start_backends()
    with psycopg.connect(stack.postgres.url) as connection:
        connection.execute("CREATE TABLE cargo (name text)")
    yield stack
    stack.kill()


@pytest.fixture(scope="session", autouse=True)
def queue_declared_at(stack: Stack) -> float:
    """When the durable queue was declared: early, so that nobody has to wait for it."""
    with kombu.Connection(stack.broker_url) as connection:
        QUEUE(connection.default_channel).declare()
    return time.monotonic()


@pytest.fixture
def durable_queue(queue_declared_at: float) -> kombu.Queue:
    """A quorum queue that RabbitMQ has had the time to write down."""
    time.sleep(max(0, queue_declared_at + WRITTEN_DOWN_AFTER - time.monotonic()))
    return QUEUE


@pytest.fixture
def small_stack(tmp_path: Path) -> Iterator[Stack]:
    """Without RabbitMQ, which is slow to start; made, not started."""
    stack = Stack(tmp_path / "data", broker="valkey")
    yield stack
    stack.kill()


@pytest.fixture
def fake_fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command `argosy` that knows no task."""
    script = tmp_path / "argosy"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE_ARGOSY}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setattr(fleet, "ARGOSY", str(script))
    return script
