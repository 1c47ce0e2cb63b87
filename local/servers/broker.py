"""Which broker a stack uses: RabbitMQ of this machine, one that runs elsewhere, or Valkey."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import amqp  # type: ignore[import-untyped]
import kombu.connection
import kombu.exceptions
import redis

from local.secrets_file import Secrets
from local.servers.base import NotOurs, Server, ServerFailed
from local.servers.rabbitmq import RabbitMQ, find_server

EXISTING = "ARGOSY_TEST_BROKER_URL"
"""The variable that names a RabbitMQ which runs already; its virtual host is ours alone."""

REFUSALS = (OSError, kombu.exceptions.KombuError, amqp.AMQPError, redis.RedisError)
"""How a broker that is not there, not ready, or not ours looks to a client."""


def choose(kind: str, data: Path, secrets: Secrets) -> RabbitMQ | ExistingBroker | None:
    """The broker that is not Valkey, or None."""
    if kind == "valkey":
        return None
    if existing := os.environ.get(EXISTING):
        return ExistingBroker(existing)
    if script := find_server():
        return RabbitMQ(data, secrets.rabbitmq, secrets.erlang_cookie, script)
    if kind == "auto":
        return None
    raise ServerFailed(
        "this machine has no RabbitMQ: run deploy/rabbitmq/install.sh, "
        f"or set {EXISTING} to the URL of one"
    )


class ExistingBroker(Server):
    """A RabbitMQ that somebody else runs."""

    def __init__(self, url: str) -> None:
        self.name = "rabbitmq"
        self.url = url
        self.port = urlsplit(url).port or 5672
        self.log_path = Path(os.devnull)

    @property
    def pid(self) -> int | None:
        """None: it is not our child."""
        return None

    def start(self) -> None:
        """Only wait for it."""
        self.wait_ready()

    def stop(self) -> None:
        """Leave it alone."""

    def kill(self) -> None:
        """Refuse."""
        raise NotOurs(f"{EXISTING} names a broker that is not this stack's to kill")

    def kill_without_waiting(self) -> None:
        """Leave it alone."""

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Return when it lets us in."""
        deadline = time.monotonic() + seconds
        while (why := self._why_not_ready()) is not None:
            if time.monotonic() > deadline:
                raise ServerFailed(f"the broker of {EXISTING} does not let us in: {why}")
            time.sleep(0.2)

    def is_running(self) -> bool:
        """Whether it lets us in now."""
        return self._why_not_ready() is None

    def tail(self, lines: int = 20) -> str:  # noqa: ARG002
        """Nothing: its log is elsewhere."""
        return ""

    def _why_not_ready(self) -> str | None:
        connection: Any = kombu.connection.Connection(self.url, connect_timeout=3)
        try:
            connection.connect()
        except REFUSALS as error:
            return f"{type(error).__name__}: {error}"
        finally:
            connection.release()
        return None
