"""What agents get on the broker, as text: URLs, patterns, and why there may be nothing."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

import pytest

from argosy.mailbox import (
    EXCHANGE,
    dead_key_of,
    dead_letters,
    dead_queue_of,
    key_to,
    mailbox,
    queue_of,
)
from argosy.settings import FleetSettings
from worker.broker_api import api_url, virtual_host, why_none
from worker.broker_users import (
    BrokerUsers,
    permissions_of,
    topic_permissions_of,
    url_for,
    user_of,
)


@pytest.mark.parametrize(
    ("broker_url", "expected"),
    [
        ("amqp://argosy:secret@host:5672/argosy", "amqp://agent.a:p%2Fw@host:5672/argosy"),
        (
            "amqps://argosy:se%40cret@host/a%2Fb?heartbeat=5",
            "amqps://agent.a:p%2Fw@host/a%2Fb?heartbeat=5",
        ),
        ("amqp://host//", "amqp://agent.a:p%2Fw@host//"),
        ("amqp://argosy:secret@[::1]:5672/", "amqp://agent.a:p%2Fw@[::1]:5672/"),
        (
            "amqp://argosy:secret@one/v;amqp://argosy:secret@two/v;three",
            "amqp://agent.a:p%2Fw@one/v;amqp://agent.a:p%2Fw@two/v;three",
        ),
    ],
)
def test_an_agents_url(broker_url: str, expected: str) -> None:
    made = url_for(broker_url, "agent.a", "p/w")
    assert made == expected
    assert "secret" not in made


@pytest.mark.parametrize(
    ("broker_url", "expected"),
    [
        ("amqp://u:p@host:5672/argosy", "argosy"),
        ("amqp://u:p@one/v;amqp://u:p@two/v", "v"),
        ("amqp://u:p@host//", "/"),
        ("amqp://u:p@host", "/"),
        ("amqp://u:p@host/a%2Fb?heartbeat=5", "a/b"),
    ],
)
def test_the_virtual_host(broker_url: str, expected: str) -> None:
    assert virtual_host(broker_url) == expected


@pytest.mark.parametrize("end", ["", "/", "/api", "/api/"])
def test_the_management_api(end: str) -> None:
    assert api_url(f"https://u:p@host:15671{end}") == "https://u:p@host:15671/api/"
    assert api_url(f"https://u:p@host/rabbit{end}") == "https://u:p@host/rabbit/api/"


@pytest.mark.parametrize("name", ["a", "we.ther", "my-agent_1", "a.b.c"])
def test_what_a_user_may_touch(name: str) -> None:
    may = permissions_of(name)
    assert user_of(name) == f"agent.{name}"
    owned = (f"inbox.{name}", queue_of(name), dead_queue_of(name))
    for kind, own in product(("configure", "read"), owned):
        assert re.search(may[kind], own)
        for other in (
            f"{own}x",
            f"x{own}",
            own.replace(".", "x", 1),
            "argosy.requests",
            EXCHANGE,
            "",
        ):
            assert not re.search(may[kind], other), (kind, other)
    for exchange in ("argosy.requests", EXCHANGE):
        assert re.search(may["write"], exchange)
        for other in (f"{exchange}2", f"x{exchange}", exchange.replace(".", "x")):
            assert not re.search(may["write"], other), other
    for other in (*owned, "argosy.internal", "amq.default", "argosy.dead", ""):
        assert not re.search(may["write"], other), other


@pytest.mark.parametrize("name", ["a", "we.ther", "my-agent_1", "a.b.c"])
def test_which_routing_keys_a_user_may_touch(name: str) -> None:
    may = topic_permissions_of(name)
    assert list(may) == [EXCHANGE]
    to, dead = key_to(name), dead_key_of(name)
    for kind, key in (("write", to), ("write", key_to("other")), ("write", dead)):
        assert re.search(may[EXCHANGE][kind], key), key
    for key in (to, dead):
        assert re.search(may[EXCHANGE]["read"], key), key
    for key in (
        dead_key_of("other"),
        f"{dead}x",
        dead.replace(".", "x", 1),
        "to.",
        "#",
        "",
        f"x{to}",
    ):
        for kind in ("read", "write"):
            assert not re.search(may[EXCHANGE][kind], key), (kind, key)
    for key in (key_to("other"), f"{to}x", "to.*", "to.#"):
        assert not re.search(may[EXCHANGE]["read"], key), key


def test_an_agents_queues() -> None:
    """Whoever declares them says the same; only the operator binds them."""
    for bound in (False, True):
        own, dead = mailbox("weather", bound=bound), dead_letters("weather", bound=bound)
        assert (own.name, dead.name) == ("messages.weather", "messages.weather.dead")
        assert own.durable
        assert dead.durable
        assert dead.queue_arguments == {"x-queue-type": "quorum"}
        assert own.queue_arguments == {
            "x-queue-type": "quorum",
            "x-delivery-limit": 50,
            "x-dead-letter-exchange": "argosy.messages",
            "x-dead-letter-routing-key": "dead.weather",
        }
        keys = [(queue.exchange.name, queue.routing_key) for queue in (own, dead)]
        expected = [(EXCHANGE, "to.weather"), (EXCHANGE, "dead.weather")]
        assert keys == (expected if bound else [("", ""), ("", "")])


def test_a_dot_in_a_name_is_a_dot() -> None:
    assert not re.search(permissions_of("we.ther")["read"], "inbox.wexther")


def settings(**values: Any) -> FleetSettings:
    needed = {
        "supabase_url": "http://host",
        "supabase_anon_key": "anon",
        "supabase_service_role_key": "service",
        "supabase_jwt_secret": "secret",
        "supabase_project_ref": "ref",
        "database_url": "postgresql://host/db",
        "broker_url": "amqp://u:p@host/argosy",
        "result_url": "redis://host",
        "spool": "/spool",
        "broker_api": "http://u:p@host:15672/api",
    }
    return FleetSettings.model_validate({**needed, **values})


def test_why_there_is_no_user() -> None:
    assert why_none(settings()) is None
    assert BrokerUsers.of(settings())
    without = settings(broker_api=None)
    assert "ARGOSY_BROKER_API is not set" in (why_none(without) or "")
    assert BrokerUsers.of(without) is None
    on_valkey = settings(broker_url="redis://host/1")
    assert "not RabbitMQ" in (why_none(on_valkey) or "")
    assert BrokerUsers.of(on_valkey) is None
