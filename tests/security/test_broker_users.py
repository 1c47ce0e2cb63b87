"""What an agent's own user may do on the real RabbitMQ: send requests and messages, and read its
own queues."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import amqp
import httpx
import pytest
from amqp.exceptions import AccessRefused, ChannelError, NotAllowed, PreconditionFailed
from celery import Celery
from kombu import Connection

from argosy import FileReference
from argosy.auth import TOKEN_HEADER
from argosy.errors import AccessDenied
from argosy.mailbox import (
    EXCHANGE,
    dead_key_of,
    dead_letters,
    dead_queue_of,
    key_to,
    mailbox,
    queue_of,
)
from models import Role
from tasks import transfer
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, remote, until
from worker.agents import Credentials, add_agent, enable_agent
from worker.broker_api import api_url
from worker.broker_policies import ensure_policies
from worker.broker_users import BrokerUsers, rights_of, user_of
from worker.doctor.checks import Unwell, check_broker_user
from worker.mailboxes import missing_queues
from worker.unready import BrokerUnready

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
KEYS = (dead_key_of("other"), "argosy.requests", "argosy.chunks", "to.", "", "#")
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
    **{
        f"a message with the key {key!r}": (
            lambda channel, own, other, key=key: publish(channel, EXCHANGE, key)
        )
        for key in KEYS
    },
    "to another's inbox": lambda channel, own, other: publish(channel, "", other),
    "to another's messages": lambda channel, own, other: publish(channel, "", messages(other)),
    "to its own messages": lambda channel, own, other: publish(channel, "", messages(own)),
    "as if its messages were an exchange": lambda channel, own, other: publish(
        channel, messages(own), key_to("x")
    ),
    "to its own inbox": lambda channel, own, other: publish(channel, "", own),
    "as if the inbox were an exchange": lambda channel, own, other: publish(channel, other, other),
}

DECLARING: dict[str, Act] = {
    "another's inbox": lambda channel, own, other: declare(channel, other),
    "another's messages": lambda channel, own, other: declare(channel, messages(other)),
    "another's dead letters": lambda channel, own, other: declare(channel, dead(other)),
    "longer messages": lambda channel, own, other: declare(channel, f"{dead(own)}.dead"),
    "the exchange of messages": lambda channel, own, other: declare_exchange(channel, EXCHANGE),
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


def messages(inbox: str) -> str:
    """The queue of messages of the agent that has this inbox."""
    return queue_of(inbox.removeprefix("inbox."))


def dead(inbox: str) -> str:
    """The same of what it could not handle."""
    return dead_queue_of(inbox.removeprefix("inbox."))


def reading(named: Callable[[str], str]) -> dict[str, Act]:
    """Every way to have what is in a queue, or to take it from whoever owns it."""

    return {
        "consume": lambda channel, own, other: channel.basic_consume(named(other)),
        "get": lambda channel, own, other: channel.basic_get(named(other)),
        "purge": lambda channel, own, other: channel.queue_purge(named(other)),
        "delete": lambda channel, own, other: channel.queue_delete(named(other)),
        "bind": lambda channel, own, other: channel.queue_bind(
            named(other), "argosy.requests", "more"
        ),
        "bind to messages": lambda channel, own, other: channel.queue_bind(
            named(other), EXCHANGE, key_to("x")
        ),
        "bind to internal": lambda channel, own, other: channel.queue_bind(
            named(other), "argosy.internal", "argosy.chunks"
        ),
        "unbind": lambda channel, own, other: channel.queue_unbind(
            named(other), "argosy.requests", "argosy.requests"
        ),
    }


LISTENING: dict[str, Act] = {
    **{
        f"to {exchange}": (
            lambda channel, own, other, exchange=exchange: channel.queue_bind(own, exchange, "#")
        )
        for exchange in ("argosy.requests", "argosy.internal", "argosy.dead", "amq.rabbitmq.trace")
    },
    "to all messages": lambda channel, own, other: channel.queue_bind(own, EXCHANGE, "to.#"),
    "in its inbox": lambda channel, own, other: channel.queue_bind(own, EXCHANGE, _key(own)),
    "again": lambda channel, own, other: channel.queue_bind(messages(own), EXCHANGE, _key(own)),
    "to another's messages": lambda channel, own, other: channel.queue_bind(
        messages(own), EXCHANGE, _key(other)
    ),
    "to another's dead letters": lambda channel, own, other: channel.queue_bind(
        dead(own), EXCHANGE, dead_key_of(other.removeprefix("inbox."))
    ),
    "through an exchange of its own": lambda channel, own, other: (
        declare_exchange(channel, own),
        channel.exchange_bind(own, EXCHANGE, _key(other)),
    ),
}


def _key(inbox: str) -> str:
    return key_to(inbox.removeprefix("inbox."))


EXCHANGES_OF_THE_FLEET: dict[str, Act] = {
    "delete requests": lambda channel, own, other: channel.exchange_delete("argosy.requests"),
    "delete the exchange of messages": lambda channel, own, other: channel.exchange_delete(
        EXCHANGE
    ),
    "pass messages on": lambda channel, own, other: channel.exchange_bind(
        "argosy.requests", EXCHANGE, "to.#"
    ),
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
        f"{what} {queue}": act
        for queue in FLEETS
        for what, act in reading(lambda other, queue=queue: queue).items()
    },
    **{
        f"{what} {owned} of another": act
        for owned, named in (("inbox", str), ("messages", messages), ("dead letters", dead))
        for what, act in reading(named).items()
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
    assert "all" not in {one["name"] for one in httpx.get(f"{api}policies", timeout=15).json()}


def test_it_is_known_on_one_virtual_host_only(deployment: Deployment, weather: Credentials) -> None:
    api = api_url(deployment.settings.broker_api or "")
    user = user_of(weather.name)
    found = httpx.get(f"{api}users/{user}/permissions", timeout=15).json()
    assert [one["vhost"] for one in found] == ["argosy"]
    assert httpx.get(f"{api}users/{user}", timeout=15).json()["tags"] == []


def test_it_may_not_take_every_connection(deployment: Deployment) -> None:
    """A hundred, each with its channel; then one is refused, and others get in."""
    greedy = made(deployment)
    with ExitStack() as opened:
        for _ in range(100):
            opened.enter_context(Connection(greedy.broker_url)).connect()
        with pytest.raises(NotAllowed, match="limit"):
            for _ in range(6):  # RabbitMQ counts them a little later than it lets them in
                opened.enter_context(Connection(greedy.broker_url)).connect()
        Connection(deployment.environment["BROKER_URL"]).connect()


# Messages between agents


@pytest.fixture(scope="module")
def other(deployment: Deployment) -> Credentials:
    """Another agent, which has never been here before the first message to it."""
    return made(deployment)


def send(channel: Any, key: str, text: str, **properties: Any) -> None:
    """As an agent sends a message: returned where nobody's queue takes it."""
    message = amqp.Message(text, delivery_mode=2, **properties)
    channel.basic_publish_confirm(message, EXCHANGE, key, mandatory=True, confirm_timeout=10)


def take(channel: Any, queue: str) -> Any:
    """The next message of a queue, not acknowledged."""
    return until(lambda: channel.basic_get(queue), what=f"a message in {queue}")


def test_a_message_waits_for_an_agent_that_has_not_started(
    channel: Any, weather: Credentials, other: Credentials
) -> None:
    send(channel, key_to(other.name), "to you", user_id=user_of(weather.name))
    with Connection(other.broker_url) as connection:
        theirs = connection.channel()
        for queue in (mailbox(other.name), dead_letters(other.name)):
            queue(theirs).declare()  # the same as the operator's, so it may
        got = take(theirs, queue_of(other.name))
        assert (got.body, got.properties["user_id"]) == ("to you", user_of(weather.name))
        theirs.basic_reject(got.delivery_tag, requeue=False)
        put_aside = take(theirs, dead_queue_of(other.name))
        assert put_aside.headers["x-first-death-queue"] == queue_of(other.name)
        theirs.basic_ack(put_aside.delivery_tag)


def test_an_agent_puts_its_own_messages_aside(channel: Any, weather: Credentials) -> None:
    send(channel, dead_key_of(weather.name), "cannot be read")
    got = take(channel, dead_queue_of(weather.name))
    assert got.body == "cannot be read"
    channel.basic_ack(got.delivery_tag)


def test_a_message_to_nobody_comes_back(channel: Any) -> None:
    with pytest.raises(ChannelError, match="NO_ROUTE"):
        send(channel, key_to("nobody"), "hello")


def test_the_broker_vouches_for_the_sender(
    channel: Any, deployment: Deployment, other: Credentials
) -> None:
    with pytest.raises(PreconditionFailed, match="user_id"):
        send(channel, key_to(other.name), "from him", user_id=user_of(other.name))
    with Connection(deployment.environment["BROKER_URL"]) as fleet:
        assert fleet.channel().basic_get(queue_of(other.name)) is None


def test_an_agent_cannot_pass_on_what_others_have_vouched_for(
    channel: Any, deployment: Deployment, weather: Credentials
) -> None:
    """By dead letters of its own choosing: its queue would have to be bound again."""
    thief = made(deployment)
    with Connection(thief.broker_url) as connection:
        its_own = connection.channel()
        its_own.queue_delete(queue_of(thief.name))
        to_another = {"x-dead-letter-exchange": EXCHANGE, "x-dead-letter-routing-key": "to.other"}
        declare(its_own, queue_of(thief.name), **to_another)
        with pytest.raises(AccessRefused):
            its_own.queue_bind(queue_of(thief.name), EXCHANGE, key_to(thief.name))
    with pytest.raises(ChannelError, match="NO_ROUTE"):
        send(channel, key_to(thief.name), "for you alone", user_id=user_of(weather.name))
    with pytest.raises(BrokerUnready, match=f"queues of agent {thief.name}"):
        enable_agent(deployment.settings, thief.name)  # binds no queue that is not as it should be


def test_an_agent_of_an_older_version(deployment: Deployment) -> None:
    """Its user may do less, and any key; `enable` makes it like the others."""
    old, settings = made(deployment), deployment.settings
    with httpx.Client(base_url=api_url(settings.broker_api or ""), timeout=15) as api:
        former = {"configure": "^inbox$", "write": "^argosy\\.requests$", "read": "^inbox$"}
        api.put(f"permissions/argosy/{user_of(old.name)}", json=former).raise_for_status()
        api.delete(f"topic-permissions/argosy/{user_of(old.name)}").raise_for_status()
        for queue in _queues_of(old.name):
            api.delete(f"queues/argosy/{queue}").raise_for_status()
    assert missing_queues(settings, old.name) == _queues_of(old.name)
    with pytest.raises(Unwell, match="other things") as found:
        check_broker_user(settings, old.name)
    assert f"`argosy agents enable {old.name}`" in found.value.advice
    enable_agent(settings, old.name)
    assert "its own queues" in check_broker_user(settings, old.name)
    with httpx.Client(base_url=api_url(settings.broker_api or ""), timeout=15) as api:
        api.delete(f"queues/argosy/{dead_queue_of(old.name)}").raise_for_status()
    with pytest.raises(Unwell, match=r"messages\..*\.dead is not there"):
        check_broker_user(settings, old.name)


def _queues_of(name: str) -> list[str]:
    return [queue_of(name), dead_queue_of(name)]


def test_rights_are_as_they_are_written(deployment: Deployment, weather: Credentials) -> None:
    users = BrokerUsers.of(deployment.settings)
    assert users
    assert users.rights(weather.name) == rights_of(weather.name)
    assert users.rights("nobody") is None


def test_no_queue_grows_without_end(deployment: Deployment, weather: Credentials) -> None:
    """By policies, which `bootstrap` has made, and makes again where they were changed."""
    settings = deployment.settings
    assert ensure_policies(settings) == []
    with httpx.Client(base_url=api_url(settings.broker_api or ""), timeout=15) as api:
        own = {"pattern": "^argosy", "definition": {"max-length": 1}, "apply-to": "queues"}
        api.put("policies/argosy/argosy.dead", json=own).raise_for_status()
        for dry_run in (True, False):
            changed = ensure_policies(settings, dry_run=dry_run)
            assert changed == ["policy argosy.dead of RabbitMQ: changed"]
        assert ensure_policies(settings) == []
        for queue, policy in (
            ("argosy.dead", "argosy.dead"),
            (queue_of(weather.name), "argosy.messages"),
            (dead_queue_of(weather.name), "argosy.messages.dead"),
        ):
            said = until(lambda queue=queue: _policy_of(api, queue), what=f"a policy of {queue}")
            assert said == policy
        assert _policy_of(api, "argosy.requests") is None


def _policy_of(api: httpx.Client, queue: str) -> str | None:
    found: str | None = api.get(f"queues/argosy/{queue}").raise_for_status().json().get("policy")
    return found


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


@pytest.mark.parametrize("size", [1000, 101 * MB])
@pytest.mark.parametrize("named", [True, False])
def test_a_chain(
    deployment: Deployment,
    as_agent: tuple[Celery, Sender],
    channel: Any,
    inbox: str,
    spool: Path,
    size: int,
    *,
    named: bool,
) -> None:
    """As in the README, with and without a queue: the agent's inbox is the only one it reads."""
    app, sender = as_agent
    declare(channel, inbox)
    source = deployment.make_file("cargo.bin", size)
    upload = transfer.upload.s(str(source)).set(headers=sender.headers)
    follower = app.signature("weather.announce", ({"task": "note", "of": size},))
    result = (upload | (follower.set(queue=inbox) if named else follower)).delay()
    reference = FileReference.parse(result.parent.get(timeout=RESULT_SECONDS))
    got = take(channel, inbox)
    channel.basic_ack(got.delivery_tag)
    assert got.headers["task"] == "weather.announce"
    document, data = json.loads(got.body)[0]
    assert FileReference.parse(document) == reference
    assert data == {"task": "note", "of": size}


def test_a_chain_by_routes_of_ones_own(
    deployment: Deployment, as_agent: tuple[Celery, Sender], spool: Path
) -> None:
    app, sender = as_agent
    app.conf.task_routes = {"weather.announce": {"queue": f"inbox.{uuid4().hex}"}}
    source = deployment.make_file("cargo.bin", 10)
    upload = transfer.upload.s(str(source)).set(headers=sender.headers)
    result = (upload | app.signature("weather.announce")).delay()
    with pytest.raises(AccessDenied, match="not its inbox"):
        result.parent.get(timeout=RESULT_SECONDS)


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
