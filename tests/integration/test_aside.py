"""Requests that are set aside are with the broker before they are acknowledged, or are accepted."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from kombu import Connection, Exchange, Message, Queue

from argosy.auth import TOKEN_HEADER
from tasks.messages import INTERNAL, REQUESTS
from tests.deployment import Deployment, until
from worker import aside
from worker.aside import AT_ONCE, Aside

MORE = 7
BODY = [[], {}, {}]


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the broker takes: nobody may ask for more meanwhile, nobody gives it up."""
    monkeypatch.setattr(aside, "PER_SECOND", 0.0)
    monkeypatch.setattr(aside, "PATIENCE_SECONDS", 60.0)


@pytest.fixture
def connection(deployment: Deployment) -> Iterator[Connection]:
    with Connection(deployment.environment["BROKER_URL"]) as made:
        yield made


@pytest.fixture
def asked(connection: Connection) -> Iterator[Queue]:
    """Where requests of this test wait."""
    where = Exchange(f"asked-{uuid4()}", type="direct", auto_delete=True)
    queue = Queue(f"asked-{uuid4()}", where, routing_key=REQUESTS, auto_delete=True)(connection)
    queue.declare()
    yield queue
    queue.delete()


@pytest.fixture
def put_aside(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    """Where they are set aside."""
    name = f"aside-{uuid4()}"
    queue = Queue(name, Exchange(INTERNAL, type="direct"), routing_key=name)(connection)
    queue.declare()
    monkeypatch.setattr(aside, "ASIDE", (name,))
    yield queue
    queue.delete()


def _requests(connection: Connection, queue: Queue, count: int) -> list[Message]:
    """So many of one agent, delivered and not acknowledged."""
    producer = connection.Producer(exchange=queue.exchange, routing_key=REQUESTS)
    for number in range(count):
        headers = {TOKEN_HEADER: "the same", "task": "transfer.upload", "id": str(number)}
        producer.publish(BODY, headers=headers, correlation_id=str(number), reply_to="somebody")
    return [until(queue.get) for _ in range(count)]


def test_more_than_its_share_is_set_aside_as_it_came(
    deployment: Deployment, connection: Connection, asked: Queue, put_aside: Queue
) -> None:
    accepted: list[Message] = []
    sorting = Aside(deployment.app, accepted.append)
    messages = _requests(connection, asked, AT_ONCE + MORE)
    taken = [message for message in messages if sorting.takes(message)]
    assert [message.headers["id"] for message in taken] == [
        str(number) for number in range(AT_ONCE, AT_ONCE + MORE)
    ]
    assert not any(message.acknowledged for message in messages)
    sorting.settle()
    sorting.close()
    assert (all(message.acknowledged for message in taken), accepted) == (True, [])
    for original in taken:
        copy = until(put_aside.get)
        assert (copy.body, copy.headers) == (original.body, original.headers)
        for name in ("correlation_id", "reply_to", "delivery_mode"):
            assert copy.properties[name] == original.properties[name]
        assert copy.content_type == original.content_type


def test_what_cannot_be_set_aside_is_accepted(
    deployment: Deployment,
    connection: Connection,
    asked: Queue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(aside, "ASIDE", (f"nowhere-{uuid4()}",))
    accepted: list[Message] = []
    sorting = Aside(deployment.app, accepted.append)
    messages = _requests(connection, asked, AT_ONCE + MORE)
    passed = [message for message in messages if not sorting.takes(message)]
    sorting.settle()
    sorting.close()
    ours = {message.headers["id"] for message in (*passed, *accepted)}
    assert ours == {message.headers["id"] for message in messages}
    assert not any(message.acknowledged for message in messages)
    assert accepted


def test_what_is_not_confirmed_at_the_end_comes_again(
    deployment: Deployment, connection: Connection, asked: Queue, put_aside: Queue
) -> None:
    accepted: list[Message] = []
    sorting = Aside(deployment.app, accepted.append)
    messages = _requests(connection, asked, AT_ONCE + MORE)
    taken = [message for message in messages if sorting.takes(message)]
    sorting.close()
    sorting.settle()
    assert (len(taken), accepted) == (MORE, [])
    assert not any(message.acknowledged for message in taken)


def test_what_is_no_request_for_bytes_is_let_through(
    deployment: Deployment, connection: Connection, asked: Queue
) -> None:
    sorting = Aside(deployment.app, list[Message]().append)
    for message in _requests(connection, asked, AT_ONCE + MORE):
        message.delivery_info["routing_key"] = "argosy.control"
        assert not sorting.takes(message)
