"""What agents may do in the real Valkey: all that Celery needs for results, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery, Signature, chord, group
from celery.result import GroupResult
from kombu import Connection

from argosy import FileReference, errors
from models import Role
from tasks import transfer
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, remote, until
from tests.security.inbox_tasks import WORKER
from worker.agents import Credentials, add_agent

pytestmark = pytest.mark.skipif(remote(), reason="uses the local stack's Valkey")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def weather(deployment: Deployment) -> Credentials:
    return add_agent(deployment.settings, f"test-{uuid4().hex[:8]}", Role.WORKER)


@pytest.fixture(scope="module")
def told(deployment: Deployment, weather: Credentials) -> dict[str, str]:
    """What the agent is told."""
    assert deployment.stack
    broker_url = weather.broker_url or deployment.environment["BROKER_URL"]
    own = {"ARGOSY_AGENT": weather.name, "BROKER_URL": broker_url}
    return {**deployment.stack.agent_environment, **own}


@pytest.fixture
def app(told: dict[str, str], current_app: None) -> Iterator[Celery]:
    made = Celery("weather", broker=told["BROKER_URL"], backend=told["RESULT_URL"])
    made.conf.broker_transport_options = {"confirm_publish": True}
    made.set_current()
    yield made
    made.close()


@pytest.fixture
def sender(deployment: Deployment, weather: Credentials, app: Celery) -> Iterator[Sender]:
    """Valkey notes each refusal: there is none while Celery does what it needs."""
    assert deployment.stack
    with redis.Redis.from_url(deployment.stack.valkey.url(0)) as operator:
        operator.acl_log_reset()
        yield Sender(AgentInTest(weather.id, weather.name, weather.key, deployment.settings))
        assert operator.acl_log() == []


@pytest.fixture(scope="module")
def own_worker(
    deployment: Deployment, told: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The agent's own Celery worker on its inbox; gives the name of that."""
    log, inbox = tmp_path_factory.mktemp("own-worker") / "log", f"inbox.{told['ARGOSY_AGENT']}"
    command = [sys.executable, "-m", "celery", "-A", "tests.security.inbox_tasks", *WORKER]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [*command, "--pool", "solo"],
            cwd=ROOT,
            env={**os.environ, **told},
            stdout=output,
            stderr=output,
        )
    try:
        reads = lambda: _consumers(deployment, inbox) == 1  # noqa: E731
        until(lambda: worker.poll() is not None or reads(), what="the agent's worker")
        assert worker.poll() is None, log.read_text()
        yield inbox
    finally:
        worker.kill()
        worker.wait()


def _consumers(deployment: Deployment, queue: str) -> int:
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        try:
            found = connection.default_channel.queue_declare(queue, passive=True)
        except connection.channel_errors:
            return 0
    return int(found.consumer_count)


def upload(deployment: Deployment, sender: Sender, size: int) -> Signature:
    source = deployment.make_file(f"{uuid4().hex}.bin", size)
    return transfer.upload.s(str(source)).set(headers=sender.headers)


def own(app: Celery, inbox: str, task: str, *arguments: Any) -> Signature:
    return app.signature(task, arguments).set(queue=inbox)


# What Celery needs


def test_a_result(deployment: Deployment, sender: Sender, spool: Path) -> None:
    result = upload(deployment, sender, 1000).delay()
    assert FileReference.parse(result.get(timeout=RESULT_SECONDS)).size == 1000
    assert result.app.AsyncResult(result.id).state == "SUCCESS"
    result.forget()
    assert result.app.AsyncResult(result.id).state == "PENDING"


def test_an_error(sender: Sender, spool: Path) -> None:
    with pytest.raises(errors.SourceMissing):
        sender.upload(spool / "missing.bin").get(timeout=RESULT_SECONDS)


def test_progress(deployment: Deployment, sender: Sender, spool: Path) -> None:
    def moved() -> list[int]:
        seen: list[dict[str, Any]] = []
        result = upload(deployment, sender, 400 * MB).delay()
        result.get(timeout=RESULT_SECONDS, on_message=seen.append)
        return [one["result"]["bytes_done"] for one in seen if one["status"] == "PROGRESS"]

    # Not where all was over before this process, held up, came to listen.
    told = until(moved, what="progress that is heard")
    heard = told[1:]  # Celery begins with what is stored, which is told as well
    assert len(set(heard)) == len(heard)
    assert max(told) <= 400 * MB


def test_a_chain_to_an_own_task(
    deployment: Deployment, app: Celery, sender: Sender, spool: Path, own_worker: str
) -> None:
    chain = upload(deployment, sender, 1000) | own(app, own_worker, "inbox.size_of")
    result = chain.delay()
    assert result.get(timeout=RESULT_SECONDS) == 1000
    assert FileReference.parse(result.parent.get(timeout=RESULT_SECONDS)).size == 1000


def test_a_group(deployment: Deployment, app: Celery, sender: Sender, spool: Path) -> None:
    sizes = [10, 20, 30]
    result = group(upload(deployment, sender, size) for size in sizes).delay()
    result.save()
    again = GroupResult.restore(result.id, app=app)
    references = [FileReference.parse(one) for one in again.get(timeout=RESULT_SECONDS)]
    assert [reference.size for reference in references] == sizes
    result.delete()
    assert GroupResult.restore(result.id, app=app) is None


def test_a_chord(
    deployment: Deployment, app: Celery, sender: Sender, spool: Path, own_worker: str
) -> None:
    sizes = [10, 20, 101 * MB]
    header = [upload(deployment, sender, size) for size in sizes]
    body = own(app, own_worker, "inbox.sizes_of")
    assert chord(header)(body).get(timeout=RESULT_SECONDS) == sizes


# What nobody needs

OTHERS = "celery-task-meta-*"

REFUSED = {
    "list keys": ("KEYS", OTHERS),
    "scan keys": ("SCAN", "0", "MATCH", OTHERS),
    "a random key": ("RANDOMKEY",),
    "count keys": ("DBSIZE",),
    "listen by a pattern": ("PSUBSCRIBE", OTHERS),
    "listen to another channel": ("SUBSCRIBE", "__keyevent@0__:set"),
    "list channels": ("PUBSUB", "CHANNELS"),
    "be told of changes": ("CLIENT", "TRACKING", "ON", "BCAST"),
    "list clients": ("CLIENT", "LIST"),
    "end clients": ("CLIENT", "KILL", "TYPE", "normal"),
    "pause clients": ("CLIENT", "PAUSE", "1000"),
    "watch commands": ("MONITOR",),
    "empty it": ("FLUSHALL",),
    "empty the database": ("FLUSHDB",),
    "swap databases": ("SWAPDB", "0", "1"),
    "read settings": ("CONFIG", "GET", "*"),
    "change settings": ("CONFIG", "SET", "maxmemory", "1"),
    "run a script": ("EVAL", "return redis.call('KEYS', '*')", "0"),
    "run a loaded script": ("EVALSHA", "0" * 40, "0"),
    "run a reading script": ("EVAL_RO", "return 1", "0"),
    "load a script": ("SCRIPT", "LOAD", "return 1"),
    "drop the scripts": ("SCRIPT", "FLUSH"),
    "load functions": ("FUNCTION", "LOAD", "#!lua name=x\nredis.register_function('x', print)"),
    "rename": ("RENAME", "celery-task-meta-a", "celery-task-meta-b"),
    "copy": ("COPY", "celery-task-meta-a", "celery-task-meta-b"),
    "move": ("MOVE", "celery-task-meta-a", "1"),
    "another key": ("GET", "somebody-elses"),
    "write another key": ("SET", "somebody-elses", "1"),
    "one of several": ("MGET", "celery-task-meta-a", "somebody-elses"),
    "publish elsewhere": ("PUBLISH", "somebody-elses", "1"),
    "users": ("ACL", "LIST"),
    "more rights": ("ACL", "SETUSER", "agents", "+@all"),
    "save": ("SAVE",),
    "stop it": ("SHUTDOWN", "NOSAVE"),
    "another primary": ("REPLICAOF", "NO", "ONE"),
    "information": ("INFO",),
}


@pytest.fixture
def client(told: dict[str, str]) -> Iterator[redis.Redis]:
    """The bare store, as an agent."""
    with redis.Redis.from_url(told["RESULT_URL"]) as made:
        yield made


@pytest.mark.parametrize("what", REFUSED)
def test_an_agent_may_not(client: redis.Redis, what: str) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*REFUSED[what])


def test_other_databases_are_closed_too(told: dict[str, str]) -> None:
    with redis.Redis.from_url(told["RESULT_URL"].removesuffix("/0") + "/1") as client:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.keys("*")
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("celery")


def test_a_wrong_password(told: dict[str, str]) -> None:
    host = told["RESULT_URL"].rpartition("@")[2]
    with (
        redis.Redis.from_url(f"redis://agents:wrong@{host}") as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()
