from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from local.servers import fleet
from local.servers.broker import EXISTING
from local.stack import Stack

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
