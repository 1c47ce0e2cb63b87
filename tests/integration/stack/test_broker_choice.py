"""RabbitMQ if there is one, an existing one if it is named, else Valkey."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import redis

from local.servers import NotOurs, ServerFailed, broker
from local.stack import Stack

from .looking import running_in


@pytest.fixture
def without_rabbitmq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "find_server", lambda: None)


def test_auto_falls_back_to_valkey(
    tmp_path: Path, without_rabbitmq: None, caplog: pytest.LogCaptureFixture, fake_fleet: Path
) -> None:
    with caplog.at_level(logging.WARNING), Stack(tmp_path / "data") as stack:
        assert stack.rabbitmq is None
        assert "Valkey is the broker" in caplog.text
        stack.start_backends()
        url = stack.environment["BROKER_URL"]
        assert url.startswith("redis://") and url.endswith("/1")
        assert redis.Redis.from_url(url).ping()
        assert stack.agent_environment["BROKER_URL"] == url  # Valkey has no user for each agent
        assert "ARGOSY_BROKER_API" not in stack.operator_environment
        worker = stack.start_worker("w1")
        assert worker.is_running()
    assert not running_in(stack.data)


def test_rabbitmq_is_insisted_on(tmp_path: Path, without_rabbitmq: None) -> None:
    with pytest.raises(ServerFailed, match=r"install\.sh"):
        Stack(tmp_path, broker="rabbitmq")


def test_an_existing_broker(
    stack: Stack, tmp_path: Path, without_rabbitmq: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(broker.EXISTING, stack.broker_url)
    guest = Stack(tmp_path, broker="rabbitmq")
    guest.start_backends()
    assert guest.environment["BROKER_URL"] == stack.broker_url
    assert guest.agent_environment["BROKER_URL"] == stack.broker_url  # we know no API of it
    assert guest.rabbitmq.port == stack.rabbitmq.port
    with pytest.raises(NotOurs):
        guest.rabbitmq.kill()
    guest.stop()
    assert stack.rabbitmq.is_running()


def test_an_existing_broker_that_refuses(stack: Stack) -> None:
    wrong = broker.ExistingBroker(f"amqp://argosy:wrong@127.0.0.1:{stack.rabbitmq.port}/argosy")
    with pytest.raises(ServerFailed, match="ACCESS_REFUSED"):
        wrong.wait_ready(seconds=0)
    assert not wrong.is_running()
