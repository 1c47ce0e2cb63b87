"""What an agent's own user may do on the real RabbitMQ: send requests, and read its inbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import amqp
import httpx
import pytest
from amqp.exceptions import AccessRefused, ChannelError, NotAllowed
from celery import Celery
from kombu import Connection

from argosy import FileReference
from argosy.auth import TOKEN_HEADER
from models import Role
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, remote, until
from worker.agents import Credentials, add_agent
from worker.broker_users import api_url, user_of

pytestmark = pytest.mark.skipif(remote(), reason="uses the local stack's RabbitMQ")

Act = Callable[[Any, str, str], object]
"""Something that the agent tries, with its own inbox and another agent's."""


def made(deployment: Deployment) -> Credentials:
    """A new agent, whose name holds what means something in a regular expression."""
    if deployment.settings.broker_api is None:
        pytest.skip("the broker of ARGOSY_TEST_BROKER_URL has no ARGOSY_BROKER_API")
    return add_agent(deployment.settings, f"test-{uuid4().hex[:8]}.x", Role.WORKER)


@pytest.fixture(scope="module")
def weather(deployment: Deployment) -> Credentials:
    return made(deployment)


@pytest.fixture(scope="module")
def inbox(weather: Credentials) -> str:
    return f"inbox.{weather.name}"


@pytest.fixture(scope="module")
def others_inbox(deployment: Deployment) -> Iterator[str]:
    """An inbox that another agent has declared, and reads."""
    other = made(deployment)
    with Connection(other.broker_url) as connection:
        name = f"inbox.{other.name}"
        connection.default_channel.queue_declare(name, durable=True, auto_delete=False)
        yield name
        connection.default_channel.queue_delete(name)


@pytest.fixture
def channel(weather: Credentials) -> Iterator[Any]:
    """The agent's own; what it is refused closes it."""
    with Connection(weather.broker_url, transport_options={"confirm_publish": True}) as connection:
        yield connection.channel()


def publish(channel: Any, exchange: str, routing_key: str) -> None:
    channel.basic_publish_confirm(amqp.Message("cargo"), exchange, routing_key, confirm_timeout=10)


def declare(channel: Any, queue: str, **arguments: str) -> None:
    channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)


def declare_exchange(channel: Any, name: str, **arguments: str) -> None:
    channel.exchange_declare(name, "direct", auto_delete=False, arguments=arguments)


EXCHANGES = ("", "argosy.internal", "argosy.dead", "amq.fanout", "amq.topic", "celery.pidbox")
FLEETS = ("argosy.requests", "argosy.chunks", "argosy.finish", "argosy.upkeep", "argosy.dead")

PUBLISHING: dict[str, Act] = {
    **{
        f"to {exchange or 'the nameless exchange'}": (
            lambda channel, own, other, exchange=exchange: publish(
                channel, exchange, "argosy.chunks"
            )
        )
        for exchange in EXCHANGES
    },
    "to another's inbox": lambda channel, own, other: publish(channel, "", other),
    "to its own inbox": lambda channel, own, other: publish(channel, "", own),
    "as if the inbox were an exchange": lambda channel, own, other: publish(channel, other, other),
}

DECLARING: dict[str, Act] = {
    "another's inbox": lambda channel, own, other: declare(channel, other),
    "a longer name": lambda channel, own, other: declare(channel, f"{own}2"),
    "a name around it": lambda channel, own, other: declare(channel, f"my.{own}"),
    "a dot that is none": lambda channel, own, other: declare(channel, own.replace(".", "_", 1)),
    "a last dot that is none": lambda channel, own, other: declare(
        channel, "_".join(own.rsplit(".", 1))
    ),
    "a queue without a name": lambda channel, own, other: declare(channel, ""),
    "Celery's queue": lambda channel, own, other: declare(channel, "celery"),
    "requests": lambda channel, own, other: declare(channel, "argosy.requests"),
    "an exchange": lambda channel, own, other: declare_exchange(channel, "celeryev"),
}

ROUND_ABOUT: dict[str, Act] = {
    **{
        f"dead letters of its inbox to {exchange or 'the nameless exchange'}": (
            lambda channel, own, other, exchange=exchange: declare(
                channel,
                own,
                **{
                    "x-dead-letter-exchange": exchange,
                    "x-dead-letter-routing-key": "argosy.chunks",
                },
            )
        )
        for exchange in EXCHANGES
    },
    **{
        f"an exchange of its own that passes on to {exchange or 'the nameless one'}": (
            lambda channel, own, other, exchange=exchange: declare_exchange(
                channel, own, **{"alternate-exchange": exchange}
            )
        )
        for exchange in EXCHANGES
    },
}


def reading(queue: str | None) -> dict[str, Act]:
    """Every way to have what is in a queue, or to take it from the fleet."""

    def named(other: str) -> str:
        return queue or other

    return {
        "consume": lambda channel, own, other: channel.basic_consume(named(other)),
        "get": lambda channel, own, other: channel.basic_get(named(other)),
        "purge": lambda channel, own, other: channel.queue_purge(named(other)),
        "delete": lambda channel, own, other: channel.queue_delete(named(other)),
        "bind": lambda channel, own, other: channel.queue_bind(
            named(other), "argosy.requests", "more"
        ),
        "bind to internal": lambda channel, own, other: channel.queue_bind(
            named(other), "argosy.internal", "argosy.chunks"
        ),
        "unbind": lambda channel, own, other: channel.queue_unbind(
            named(other), "argosy.requests", "argosy.requests"
        ),
    }


LISTENING: dict[str, Act] = {
    f"to {exchange}": (
        lambda channel, own, other, exchange=exchange: channel.queue_bind(own, exchange, "#")
    )
    for exchange in ("argosy.requests", "argosy.internal", "argosy.dead", "amq.rabbitmq.trace")
}

EXCHANGES_OF_THE_FLEET: dict[str, Act] = {
    "delete requests": lambda channel, own, other: channel.exchange_delete("argosy.requests"),
    "bind them": lambda channel, own, other: channel.exchange_bind(
        "argosy.internal", "argosy.requests", "argosy.requests"
    ),
    "unbind them": lambda channel, own, other: channel.exchange_unbind(
        "argosy.internal", "argosy.requests", "argosy.requests"
    ),
}

REFUSED = {
    **{f"publish {what}": act for what, act in PUBLISHING.items()},
    **{f"declare {what}": act for what, act in DECLARING.items()},
    **ROUND_ABOUT,
    **{f"listen {what}": act for what, act in LISTENING.items()},
    **EXCHANGES_OF_THE_FLEET,
    **{
        f"{what} {queue or 'inbox of another'}": act
        for queue in (None, *FLEETS)
        for what, act in reading(queue).items()
    },
}


@pytest.mark.parametrize("act", REFUSED)
def test_an_agent_may_not(channel: Any, inbox: str, others_inbox: str, act: str) -> None:
    if act.startswith("listen"):
        declare(channel, inbox)
    with pytest.raises(AccessRefused):
        REFUSED[act](channel, inbox, others_inbox)


def test_an_agent_may_write_requests(channel: Any) -> None:
    """Confirmed, and not returned: a mandatory message without a queue would raise."""
    options = {"mandatory": True, "confirm_timeout": 10}
    for _ in range(2):
        channel.basic_publish_confirm(
            amqp.Message("cargo"), "argosy.requests", "argosy.requests", **options
        )
    with pytest.raises(ChannelError, match="NO_ROUTE"):
        channel.basic_publish_confirm(amqp.Message("cargo"), "argosy.requests", "no", **options)


def test_an_agent_reads_its_own_inbox(channel: Any, deployment: Deployment, inbox: str) -> None:
    declare(channel, inbox)
    with Connection(deployment.environment["BROKER_URL"]) as fleet:
        fleet.default_channel.basic_publish(amqp.Message("to you"), routing_key=inbox)
        fleet.default_channel.basic_publish(amqp.Message("and this"), routing_key=inbox)
    got = until(lambda: channel.basic_get(inbox, no_ack=True), what="the message")
    assert got.body == "to you"
    received: list[str] = []
    channel.basic_consume(
        inbox, no_ack=True, callback=lambda message: received.append(message.body)
    )
    until(lambda: received or channel.connection.drain_events(timeout=10), what="the second one")
    assert received == ["and this"]
    assert channel.queue_delete(inbox) == 0


def test_it_may_not_manage(deployment: Deployment, weather: Credentials) -> None:
    api = httpx.URL(api_url(deployment.settings.broker_api or ""))
    broker = httpx.URL(weather.broker_url or "")
    as_agent = {"auth": (broker.username, broker.password), "timeout": 15}
    bare = api.copy_with(userinfo=b"")
    for path in ("whoami", "queues", "users", "definitions", f"users/{broker.username}"):
        assert httpx.get(f"{bare}{path}", **as_agent).status_code == 401, path
    policy = {"pattern": ".*", "definition": {"max-length": 0}, "apply-to": "queues"}
    put = httpx.put(f"{bare}policies/argosy/all", json=policy, **as_agent)
    assert put.status_code == 401
    assert httpx.get(f"{api}policies", timeout=15).json() == []


def test_it_is_known_on_one_virtual_host_only(deployment: Deployment, weather: Credentials) -> None:
    api = api_url(deployment.settings.broker_api or "")
    user = user_of(weather.name)
    found = httpx.get(f"{api}users/{user}/permissions", timeout=15).json()
    assert [one["vhost"] for one in found] == ["argosy"]
    assert httpx.get(f"{api}users/{user}", timeout=15).json()["tags"] == []


def test_it_may_not_take_every_connection(deployment: Deployment) -> None:
    """A hundred, each with its channel; the next one is refused, and others get in."""
    greedy = made(deployment)
    with ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(Connection(greedy.broker_url)).connect()
        with pytest.raises(NotAllowed, match="limit"):
            opened.enter_context(Connection(greedy.broker_url)).connect()
        Connection(deployment.environment["BROKER_URL"]).connect()


# Celery


@pytest.fixture
def as_agent(
    deployment: Deployment, weather: Credentials, current_app: None
) -> Iterator[tuple[Celery, Sender]]:
    """An ordinary Celery client that knows what an agent is told."""
    assert deployment.stack
    told = {**deployment.stack.agent_environment, "BROKER_URL": weather.broker_url}
    app = Celery("weather", broker=told["BROKER_URL"], backend=told["RESULT_URL"])
    app.conf.broker_transport_options = {"confirm_publish": True}
    app.set_current()
    agent = AgentInTest(weather.id, weather.name, weather.key, deployment.settings)
    yield app, Sender(agent)
    app.close()


def test_delay(deployment: Deployment, as_agent: tuple[Celery, Sender], spool: Path) -> None:
    _, sender = as_agent
    result = sender.upload(deployment.make_file("cargo.bin", 1000))
    assert result.app is as_agent[0]
    assert FileReference.parse(result.get(timeout=RESULT_SECONDS)).size == 1000


def test_send_task(deployment: Deployment, as_agent: tuple[Celery, Sender], spool: Path) -> None:
    app, sender = as_agent
    result = app.send_task(
        "transfer.upload",
        [str(deployment.make_file("cargo.bin", 1000))],
        exchange="argosy.requests",
        routing_key="argosy.requests",
        declare=[],
        headers={TOKEN_HEADER: sender.headers[TOKEN_HEADER]},
    )
    assert FileReference.parse(result.get(timeout=RESULT_SECONDS)).size == 1000


@pytest.mark.parametrize("command", ["ping", "shutdown", "revoke", "pool_shrink"])
def test_no_remote_control(as_agent: tuple[Celery, Sender], command: str) -> None:
    app, _ = as_agent
    with pytest.raises(AccessRefused):
        app.control.broadcast(command, arguments={"task_id": "x"}, reply=False)


def test_a_task_to_a_queue_of_the_fleet(as_agent: tuple[Celery, Sender]) -> None:
    app, _ = as_agent
    for options in ({"queue": "argosy.chunks"}, {"exchange": "argosy.internal", "declare": []}):
        with pytest.raises(AccessRefused):
            app.send_task("transfer.chunk", ["x", 1], routing_key="argosy.chunks", **options)
