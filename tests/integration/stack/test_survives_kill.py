"""A server that is SIGKILLed comes back on its port, with its data."""

from __future__ import annotations

import os
import signal
import time

import httpx
import kombu
import psutil
import psycopg
import pytest
import redis
from amqp.exceptions import NotAllowed

from local.servers import Server
from local.stack import Stack
from worker.broker_api import BrokerApi
from worker.broker_users import BrokerUsers

from .conftest import WRITTEN_DOWN_AFTER
from .looking import all_gone


def family(server: Server) -> list[psutil.Process]:
    main = psutil.Process(server.pid)
    return [main, *main.children(recursive=True)]


def test_postgres(stack: Stack) -> None:
    before = family(stack.postgres), stack.postgres.port
    open_session = psycopg.connect(stack.postgres.url, autocommit=True)
    open_session.execute("INSERT INTO cargo VALUES ('tea')")
    stack.postgres.kill()
    assert all_gone(before[0], seconds=0)
    assert not stack.postgres.is_running()
    stack.postgres.start()
    assert stack.postgres.port == before[1]
    with psycopg.connect(stack.postgres.url) as connection:
        assert connection.execute("SELECT name FROM cargo").fetchall() == [("tea",)]


def test_postgres_killed_behind_our_back(stack: Stack) -> None:
    with psycopg.connect(stack.postgres.url):
        os.kill(stack.postgres.pid, signal.SIGKILL)
        while stack.postgres.is_running():
            time.sleep(0.01)
        stack.postgres.start()
    psycopg.connect(stack.postgres.url).close()


def test_valkey(stack: Stack) -> None:
    url, port = stack.environment["RESULT_URL"], stack.valkey.port
    with redis.Redis.from_url(url) as client:
        client.set("cargo", "tea")
        assert client.execute_command("WAITAOF", 1, 0, 20_000)[0] == 1, "not on the disk"
    stack.valkey.kill()
    assert not stack.valkey.is_running()
    stack.valkey.start()
    assert stack.valkey.port == port
    with redis.Redis.from_url(url) as client:
        assert client.get("cargo") == b"tea"


def test_rabbitmq(stack: Stack, durable_queue: kombu.Queue) -> None:
    before, port = family(stack.rabbitmq), stack.rabbitmq.port
    url = stack.environment["BROKER_URL"]
    with kombu.Connection(url, transport_options={"confirm_publish": True}) as connection:
        connection.Producer().publish({"cargo": "tea"}, routing_key=durable_queue.name)
    stack.rabbitmq.kill()
    assert all_gone(before)
    stack.rabbitmq.start()
    assert stack.rabbitmq.port == port
    with kombu.Connection(url) as connection:
        message = durable_queue(connection.default_channel).get()
        assert message.payload == {"cargo": "tea"}
        message.ack()


def test_agents_broker_users(stack: Stack) -> None:
    api = BrokerApi(stack.operator_environment["ARGOSY_BROKER_API"], stack.broker_url)
    users = BrokerUsers(api, stack.broker_url)
    urls = {name: users.take_in(name) for name in ("kept", "shut-out")}
    assert [users.grant(name) for name in urls] == [True, True]
    users.shut_out("shut-out")
    time.sleep(WRITTEN_DOWN_AFTER)
    stack.rabbitmq.kill()
    stack.rabbitmq.start()
    with kombu.Connection(urls["kept"]) as connection:
        connection.default_channel.queue_declare("inbox.kept")
    with pytest.raises(NotAllowed), kombu.Connection(urls["shut-out"]) as connection:
        connection.connect()


def test_supabase(stack: Stack) -> None:
    stack.supabase.start()
    port, pid = stack.supabase.port, stack.supabase.pid
    keys = {
        "apikey": stack.environment["SUPABASE_ANON_KEY"],
        "Authorization": f"Bearer {stack.environment['SUPABASE_SERVICE_ROLE_KEY']}",
    }
    buckets = f"{stack.environment['SUPABASE_URL']}/storage/v1/bucket"
    httpx.post(buckets, headers=keys, json={"id": "hold", "name": "hold"}).raise_for_status()
    stack.supabase.kill()
    assert not psutil.pid_exists(pid)
    stack.supabase.start()
    assert stack.supabase.port == port
    found = httpx.get(buckets, headers=keys).raise_for_status().json()
    assert "hold" in [bucket["id"] for bucket in found]
