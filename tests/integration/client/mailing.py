"""Agents that write to each other, each with its own user on the broker."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import amqp
from kombu import Connection

from argosy import Client, Inbox, Message
from argosy.broker import CONFIRM_SECONDS
from argosy.mailbox import EXCHANGE, dead_queue_of, key_to, queue_of
from argosy.settings import AgentSettings
from models import Role
from tests.deployment import Deployment, until
from worker.agents import add_agent


@dataclass(frozen=True)
class Person:
    """An agent, what it writes with, and what the operator sees of its queues."""

    name: str
    key: str = field(repr=False)
    client: Client
    broker_url: str = field(repr=False)
    operator_url: str = field(repr=False)

    def inbox(self, **options: Any) -> Inbox:
        """Its inbox, with pauses that tests can wait for."""
        return Inbox(self.client, **{"pause_seconds": 0.05, **options})

    def waiting(self) -> int:
        """Messages in its queue that nobody holds."""
        with operator(self.operator_url) as channel:
            return int(channel.queue_declare(queue_of(self.name), passive=True).message_count)

    def dead_letter(self) -> amqp.Message:
        """The next dead letter, taken away."""
        with operator(self.operator_url) as channel:
            queue = dead_queue_of(self.name)
            return until(lambda: channel.basic_get(queue, no_ack=True), 15, what="a dead letter")


@contextmanager
def operator(url: str) -> Iterator[Any]:
    """A channel of the fleet's own user, that confirms."""
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        yield connection.channel()


@contextmanager
def person(deployment: Deployment, folder: Path, **changes: Any) -> Iterator[Person]:
    """A new agent, as the operator's command makes it; its folders are below `folder`."""
    added = add_agent(deployment.settings, f"test-{uuid4().hex[:8]}.x", Role.WORKER)
    assert added.broker_url, "the broker of ARGOSY_TEST_BROKER_URL has no ARGOSY_BROKER_API"
    known = {name: getattr(deployment.settings, name) for name in AgentSettings.model_fields}
    own = {"journal_dir": folder / "journal", "cache_dir": folder / "cache"}
    settings = AgentSettings(**{**known, **own, "broker_url": added.broker_url, **changes})
    with Client(settings, agent=added.name, key=added.key) as client:
        operator_url = deployment.environment["BROKER_URL"]
        yield Person(added.name, added.key, client, added.broker_url, operator_url)


def write(url: str, to: str, body: bytes | str | dict[str, Any], **properties: Any) -> None:
    """Publish as a program without this library does."""
    text = json.dumps(body) if isinstance(body, dict) else body
    with operator(url) as channel:
        message = amqp.Message(text, delivery_mode=2, **properties)
        channel.basic_publish(
            message, EXCHANGE, key_to(to), mandatory=True, confirm_timeout=CONFIRM_SECONDS
        )


def receive(person: Person, count: int = 1, **options: Any) -> list[Message]:
    """Handle so many messages, and return them; their files are gone then."""
    got: list[Message] = []
    inbox = person.inbox(**options)
    inbox.on(got.append)
    for _ in range(count):
        assert inbox.run_once(30), "no message came"
    return got


def pins(deployment: Deployment, message_id: object) -> int:
    """How many files a message keeps."""
    [[count]] = deployment.query(
        "SELECT count(*) FROM argosy.pins WHERE message_id = :id", id=str(message_id)
    )
    return int(count)


class Relay:
    """Stands between an agent and the broker, until it is cut."""

    def __init__(self, url: str) -> None:
        self._broker = (urlsplit(url).hostname, urlsplit(url).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        port = self._listener.getsockname()[1]
        self.url = url.replace(f":{self._broker[1]}/", f":{port}/")
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection, and take no other."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._broker)
                self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(65536):
                sink.sendall(block)
