"""Each server answers, asks for its password, and listens on the loopback only."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from ipaddress import ip_address
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis
from kombu import Connection

from local.folder_lock import FolderTaken
from local.servers import ServerFailed, fleet, postgres_files
from local.servers.rabbitmq import RabbitMQ
from local.stack import Stack

from .looking import everything_of, of_each


def test_postgres_is_18_and_not_root(stack: Stack) -> None:
    with psycopg.connect(stack.postgres.url) as connection:
        version, encoding = connection.execute(
            "SELECT current_setting('server_version'), current_setting('server_encoding')"
        ).fetchone()
    assert version.startswith("18.")
    assert encoding == "UTF8"
    assert psutil.Process(stack.postgres.pid).uids().effective != 0


def test_valkey_answers(stack: Stack) -> None:
    client = redis.Redis.from_url(stack.environment["RESULT_URL"])
    assert client.ping()
    client.close()


def test_agents_have_a_user_of_their_own_in_valkey(stack: Stack) -> None:
    with redis.Redis.from_url(stack.agent_environment["RESULT_URL"]) as client:
        client.set("celery-task-meta-x", "1", ex=60)
        assert client.get("celery-task-meta-x") == b"1"
        for forbidden in (lambda: client.get("x"), lambda: client.keys("*"), client.flushall):
            with pytest.raises(redis.exceptions.NoPermissionError):
                forbidden()


def test_agents_are_not_told_the_fleets_broker_url(stack: Stack) -> None:
    assert "BROKER_URL" not in stack.agent_environment
    assert stack.secrets.rabbitmq not in str(stack.agent_environment)
    assert stack.secrets.valkey not in str(stack.agent_environment)


def test_rabbitmq_takes_messages(stack: Stack) -> None:
    with Connection(stack.environment["BROKER_URL"]) as connection:
        queue = connection.SimpleQueue("hello")
        queue.put({"cargo": 1})
        message = queue.get(timeout=30)
        message.ack()
        assert message.payload == {"cargo": 1}
        queue.close()
        queue.queue.delete()


def test_management_and_metrics_answer(stack: Stack) -> None:
    assert isinstance(stack.rabbitmq, RabbitMQ)
    overview = httpx.get(
        stack.operator_environment["ARGOSY_BROKER_API"] + "overview"
    ).raise_for_status()
    assert overview.json()["rabbitmq_version"]
    metrics = httpx.get(f"http://127.0.0.1:{stack.rabbitmq.metrics_port}/metrics")
    assert "rabbitmq_build_info" in metrics.text


def test_passwords_are_asked_for(stack: Stack) -> None:
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=stack.valkey.port).ping()
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host="127.0.0.1", port=stack.postgres.port, user="postgres")
    as_guest = httpx.get(stack.rabbitmq.management_url + "api/whoami", auth=("guest", "guest"))
    assert as_guest.status_code == 401


def test_every_listener_is_on_the_loopback(stack: Stack) -> None:
    listening = [
        connection.laddr
        for found in of_each(everything_of(stack), _connections)
        for connection in found
        if connection.status == psutil.CONN_LISTEN
    ]
    assert all(ip_address(address.ip).is_loopback for address in listening)  # epmd adds ::1
    assert len({address.port for address in listening}) == 7  # RabbitMQ has four, and epmd


def _connections(process: psutil.Process) -> list[psutil._ntuples.pconn]:
    return process.net_connections(kind="inet")


def test_no_secret_is_in_a_command_line(stack: Stack) -> None:
    secrets = {value for name, value in vars(stack.secrets).items() if name != "project_ref"}
    lines = of_each(everything_of(stack), psutil.Process.cmdline)
    commands = " ".join(word for line in lines for word in line)
    assert not [secret for secret in secrets if secret in commands]


def test_secrets_are_private_and_kept(stack: Stack) -> None:
    path = stack.data / "secrets.json"
    assert path.stat().st_mode & 0o777 == 0o600
    again = Stack(stack.data, broker="valkey")
    assert again.secrets == stack.secrets


def test_secrets_of_an_older_stack_are_kept_and_completed(tmp_path: Path) -> None:
    older = {"postgres": "p", "valkey": "v", "rabbitmq": "r", "erlang_cookie": "e"}
    (tmp_path / "secrets.json").write_text(json.dumps(older))
    made, again = (Stack(tmp_path, broker="valkey").secrets for _ in range(2))
    assert made == again
    assert {name: getattr(made, name) for name in older} == older
    assert len(made.valkey_agents) > 20


def test_a_folder_has_one_stack(stack: Stack) -> None:
    with pytest.raises(FolderTaken):
        Stack(stack.data, broker="valkey").start_backends()


def test_settings_reach_the_fleet_over_ours(tmp_path: Path) -> None:
    settings = {"ARGOSY_CHUNK_SIZE": "5", "BROKER_URL": "memory://"}
    environment = Stack(tmp_path, broker="valkey", settings=settings).environment
    assert environment["ARGOSY_CHUNK_SIZE"] == "5"
    assert environment["BROKER_URL"] == "memory://"


def test_a_failed_start_shows_the_log(small_stack: Stack) -> None:
    small_stack.start_backends()
    small_stack.valkey.kill()
    aof = small_stack.data / "valkey" / "appendonlydir"
    for file in aof.glob("*.manifest"):
        file.write_text("this is no manifest\n")
    with pytest.raises(ServerFailed, match=r"(?s)valkey ended before it was ready.*manifest"):
        small_stack.valkey.start()


def test_a_failed_command_shows_what_it_said(small_stack: Stack, fake_fleet: Path) -> None:
    with pytest.raises(ServerFailed, match=r"(?s)argosy fail.*no such luck"):
        fleet.run("fail", small_stack.environment, small_stack.data)


def test_a_port_that_somebody_took_first_is_replaced(small_stack: Stack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        small_stack.valkey.port = somebody.getsockname()[1]
        small_stack.valkey.start()
        assert small_stack.valkey.port != somebody.getsockname()[1]
    assert redis.Redis.from_url(small_stack.valkey.url(0)).ping()


def test_a_name_runs_once(small_stack: Stack, fake_fleet: Path) -> None:
    small_stack.start_backends()
    beat = small_stack.start_beat()
    with pytest.raises(ValueError, match="beat runs already"):
        small_stack.start_beat()
    beat.stop()
    assert small_stack.start_beat().is_running()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_root_may_keep_data_where_nobody_may_go(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    done = subprocess.run(["ls", hidden], user="nobody", capture_output=True, check=False)
    assert done.returncode != 0
    stack = Stack(hidden / "data", broker="valkey")
    stack.postgres.start()
    stack.postgres.kill()
    stack.postgres.start()
    stack.kill()
    assert hidden.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another user")
def test_root_may_keep_the_programs_where_nobody_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = Path(tempfile.mkdtemp(dir="/var/tmp"))
    public.chmod(0o755)
    monkeypatch.setattr(postgres_files, "_PUBLIC", public)
    monkeypatch.setattr(postgres_files, "reachable", lambda path, user: False)
    for name in ("first", "second"):
        stack = Stack(tmp_path / name, broker="valkey")
        stack.postgres.start()
        assert public in Path(psutil.Process(stack.postgres.pid).exe()).parents
        stack.kill()
    assert len(list(public.iterdir())) == 1
    shutil.chown(next(public.iterdir()), "nobody")
    with pytest.raises(ServerFailed, match="made by somebody else"):
        stack.postgres.start()
    shutil.rmtree(public)
