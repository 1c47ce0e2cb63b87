"""RabbitMQ loses all it has: users, queues, messages. What was accepted is done all the same."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from celery.result import AsyncResult

from argosy import Client
from argosy.reference import FileReference
from tasks import transfer
from tests.conftest import MB, Sender
from tests.deployment import Deployment, deployed, remote, until
from worker.agents import rotate_key
from worker.broker_api import BrokerApi

LARGE = 160 * MB
RECOVERY_SECONDS = 240
QUEUES = {
    *("argosy.requests", "argosy.control", "argosy.chunks", "argosy.finish", "argosy.upkeep"),
    "argosy.dead",
}
EXCHANGES = {"argosy.requests", "argosy.internal", "argosy.dead", "argosy.messages"}

pytestmark = [
    pytest.mark.skipif(remote(), reason="these tests wipe the broker they run on"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of this module's own, to be broken."""
    with deployed(tmp_path_factory.mktemp("fragile")) as made:
        yield made


@pytest.fixture
def from_agent(fragile: Deployment) -> Iterator[Sender]:
    yield Sender(fragile.add_agent())
    fragile.clear_spool()


def _wipe(deployment: Deployment) -> None:
    """Stop RabbitMQ, remove its data, start it: it has the fleet's own user, and no other."""
    broker = deployment.stack_of("rabbitmq")
    data = deployment.data / "rabbitmq" / "mnesia"
    assert any(data.iterdir())
    broker.stop()
    shutil.rmtree(data)
    broker.start()


def _names(deployment: Deployment, kind: str) -> set[str]:
    api = BrokerApi.of(deployment.settings)
    assert api
    found: list[dict[str, Any]] = api.ask("GET", api.in_vhost(kind, "")).json()
    return {one["name"] for one in found}


def _has_queues(deployment: Deployment) -> None:
    until(
        lambda: _names(deployment, "queues") >= QUEUES, RECOVERY_SECONDS, what="the fleet's queues"
    )


def _has_moved(deployment: Deployment, transfer_id: str) -> None:
    moving = "SELECT 1 FROM argosy.transfers WHERE id = :id AND state = 'moving' AND bytes_done > 0"
    until(lambda: deployment.query(moving, id=transfer_id), what="a transfer in the middle")


def _sha256(path: Path | str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _steer(sender: Sender, task: Any, transfer_id: str) -> None:
    task.apply_async((transfer_id,), headers=sender.headers).get(timeout=RECOVERY_SECONDS)


def _pids(deployment: Deployment) -> list[int]:
    return [deployment.stack_of(name).pid for name in ("one", "two", "beat")]


def test_every_accepted_transfer_finishes(fragile: Deployment, from_agent: Sender) -> None:
    processes = _pids(fragile)
    stored = fragile.make_file("stored.bin", LARGE)
    reference = FileReference.parse(from_agent.upload(stored).get(timeout=RECOVERY_SECONDS))

    paused_source = fragile.make_file("paused.bin", LARGE)
    paused = from_agent.upload(paused_source)
    _has_moved(fragile, paused.id)
    _steer(from_agent, transfer.pause, paused.id)

    download = from_agent.download(reference, fragile.spool / "back.bin")
    sources = [fragile.make_file(f"cargo-{number}.bin", LARGE) for number in range(3)]
    uploads = [from_agent.upload(source) for source in sources]
    small = [
        from_agent.upload(fragile.make_file(f"small-{number}.bin", MB), process="auto")
        for number in range(10)
    ]
    everything = [download, *uploads, *small]
    _are_accepted(fragile, everything)
    _wipe(fragile)
    _has_queues(fragile)

    _steer(from_agent, transfer.unpause, paused.id)
    assert _sha256(download.get(timeout=RECOVERY_SECONDS)) == reference.sha256
    for source, result in zip([*sources, paused_source], [*uploads, paused], strict=True):
        arrived = FileReference.parse(result.get(timeout=RECOVERY_SECONDS))
        assert arrived.sha256 == _sha256(source)
        assert _sha256_in_storage(fragile, from_agent, arrived) == arrived.sha256
    for result in small:
        assert FileReference.parse(result.get(timeout=RECOVERY_SECONDS)).facts
    assert _pids(fragile) == processes
    assert not fragile.unfinished_uploads(from_agent.agent)


def _are_accepted(deployment: Deployment, results: list[AsyncResult]) -> None:
    """Wait until each has its row: what is only in the broker is lost with it."""
    count = "SELECT count(*) AS n FROM argosy.transfers WHERE id = ANY(:ids)"
    ids = [result.id for result in results]
    until(
        lambda: deployment.query(count, ids=ids)[0].n == len(ids),
        seconds=RECOVERY_SECONDS,
        what="a row for each",
    )


def _sha256_in_storage(deployment: Deployment, sender: Sender, reference: FileReference) -> str:
    agent = sender.agent
    digest = hashlib.sha256()
    with Client(agent.settings, agent=agent.name, key=agent.key) as client:
        for block in client.iter_bytes(reference):
            digest.update(block)
    return digest.hexdigest()


def test_what_was_declared_is_declared_again(fragile: Deployment) -> None:
    """Exchanges and queues by the workers; the agents' by the operator, as are their users."""
    agent = fragile.add_agent()
    mailbox = {f"messages.{agent.name}", f"messages.{agent.name}.dead"}
    assert mailbox <= _names(fragile, "queues")
    _wipe(fragile)
    _has_queues(fragile)
    assert _names(fragile, "exchanges") >= EXCHANGES
    assert not mailbox & _names(fragile, "queues")

    planned = fragile.run("bootstrap", "--dry-run").splitlines()
    assert not mailbox & _names(fragile, "queues")
    made = fragile.run("bootstrap").splitlines()
    assert [f"would change: {line}" for line in made] == planned
    assert {f"queue {name}: made" for name in mailbox} <= set(made)
    assert "policy argosy.dead of RabbitMQ: made" in made
    assert mailbox <= _names(fragile, "queues")
    assert fragile.run("bootstrap") == "Nothing to change.\n"

    renewed = rotate_key(fragile.settings, agent.name)
    settings = agent.settings.model_copy(update={"broker_url": renewed.broker_url})
    with Client(settings, agent=agent.name, key=renewed.key) as client:
        assert client.history() == []
        client.send(agent.name, "still there?")


def test_who_starts_before_the_broker_waits_for_it(fragile: Deployment, from_agent: Sender) -> None:
    broker = fragile.stack_of("rabbitmq")
    names = ("one", "two", "beat")
    for name in (*names, "rabbitmq"):
        fragile.stack_of(name).kill()
    logs = [fragile.stack_of(name).log_path for name in names]
    said = {log: log.stat().st_size for log in logs}
    starting = [Thread(target=fragile.stack_of(name).start) for name in names]
    for one in starting:
        one.start()
    for log, before in said.items():
        until(
            lambda log=log, before=before: _waits(log, before), what=f"a word of waiting in {log}"
        )
    broker.start()
    for one in starting:
        one.join()
    path = fragile.make_file("first.bin", MB)
    FileReference.parse(from_agent.upload(path).get(timeout=RECOVERY_SECONDS))


def _waits(log: Path, before: int) -> bool:
    """Whether a process has said that it waits for the broker, since its log had so many bytes."""
    said = log.read_bytes()[before:]
    return b"broker.away" in said or b"Trying again in" in said
