"""The programs of `examples/`, each run as its reader would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from amqp.exceptions import NotFound
from kombu import Connection

from tests.deployment import Deployment, until
from tests.integration.client.agents import add_agent, end, process_environment

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def alice(deployment: Deployment, home: Path) -> dict[str, str]:
    return process_environment(add_agent(deployment, "alice"), home)


@pytest.fixture(scope="module")
def bob(deployment: Deployment, home: Path) -> dict[str, str]:
    return process_environment(add_agent(deployment, "bob"), home)


def run(environment: dict[str, str], example: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / example, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(environment: dict[str, str], log: Path, *command: object) -> Iterator[None]:
    with log.open("w") as out:
        started = subprocess.Popen(
            list(map(str, command)),
            env=environment,
            cwd=EXAMPLES,
            stdout=out,
            stderr=out,
            text=True,
        )
        try:
            yield
        finally:
            end(started)


def has_consumer(deployment: Deployment, queue: str) -> bool:
    with Connection(deployment.environment["BROKER_URL"]) as connection:
        channel = connection.default_channel
        try:
            return bool(channel.queue_declare(queue, passive=True).consumer_count)
        except NotFound:
            return False


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_each_is_short(example: Path) -> None:
    assert len(example.read_text().splitlines()) < 60


def test_two_agents(alice: dict[str, str], bob: dict[str, str], tmp_path: Path) -> None:
    source, log = tmp_path / "cargo.bin", tmp_path / "bob.log"
    source.write_bytes(os.urandom(1_000_000))
    with running(bob, log, sys.executable, "two_agents.py", "receive"):
        assert "sent " in run(alice, "two_agents.py", "send", "bob", source)
        until(lambda: "alice: cargo.bin, 1000000 bytes, verified" in log.read_text(), 30)


def test_an_async_agent(alice: dict[str, str], tmp_path: Path) -> None:
    contents = [os.urandom(50_000), b"", os.urandom(1)]
    paths = [tmp_path / f"{number}.bin" for number in range(3)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    printed = run(alice, "async_agent.py", *paths)
    assert [line.split()[2] for line in printed.splitlines()] == [
        sha256(content).hexdigest() for content in contents
    ]


def test_a_celery_agent(
    alice: dict[str, str], deployment: Deployment, spool: Path, tmp_path: Path
) -> None:
    source, log = deployment.make_file("numbers.bin", 200_000), tmp_path / "celery.log"
    quiet = ("--without-gossip", "--without-mingle", "--without-heartbeat", "--concurrency", "1")
    command = [Path(sys.executable).parent / "celery", "-A", "celery_agent", "worker", *quiet]
    with running(alice, log, *command):
        queue = f"inbox.{alice['ARGOSY_AGENT']}"
        until(lambda: has_consumer(deployment, queue), 60, what=f"a worker that reads {queue}")
        printed = run(alice, "celery_agent.py", source)
    digest = sha256(source.read_bytes()).hexdigest()
    assert printed == f"numbers.bin: 200000 bytes, {digest}\n"
