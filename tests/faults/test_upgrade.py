"""From one version to the next and back, while files are on their way.

The old version is run as it was, on the schema that it knows and on the new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import psutil
import pytest
from celery import Celery
from celery.result import AsyncResult

from argosy import FileReference
from argosy.storage.s3 import Endpoint, ObjectStore
from argosy.tokens import Mint
from local.servers.fleet import Beat, Worker
from tests.conftest import MB, Sender
from tests.deployment import AgentInTest, Deployment, remote
from tests.faults.leaving import held, until_held
from tests.faults.old_version import REVISION, OldBeat, OldVersion, OldWorker
from tests.integration.client.gate import Gate, gate_to

LARGE = 130 * MB
PARTS = 8
SMALL = 3 * MB
RESULT_SECONDS = 120

Process = TypeVar("Process", Worker, OldWorker, Beat, OldBeat)

pytestmark = pytest.mark.skipif(remote(), reason="these tests migrate the project they run on")


@dataclass
class Voyage:
    """A deployment between two versions, and every file that was sent through it."""

    deployment: Deployment
    old: OldVersion
    gate: Gate
    sender: Sender
    files: dict[int, Path]
    sent: dict[str, tuple[Path, AsyncResult]] = field(default_factory=dict)
    processes: list[Worker | Beat] = field(default_factory=list)

    def send(self, *sizes: int) -> list[AsyncResult]:
        """Send files of these sizes."""
        results = []
        for size in sizes:
            results.append(self.sender.upload(self.files[size]))
            self.sent[results[-1].id] = (self.files[size], results[-1])
        return results

    def start_old_worker(self, name: str) -> OldWorker:
        worker = OldWorker(name, self.deployment.data, 2, self._through_the_gate)
        worker.version = self.old
        return self._started(worker)

    def start_old_beat(self) -> OldBeat:
        beat = OldBeat(self.deployment.data, lambda: self.deployment.environment)
        beat.version = self.old
        return self._started(beat)

    def start_new_worker(self, name: str) -> Worker:
        return self._started(Worker(name, self.deployment.data, 2, self._through_the_gate))

    def start_new_beat(self) -> Beat:
        return self._started(Beat(self.deployment.data, lambda: self.deployment.environment))

    def _through_the_gate(self) -> dict[str, str]:
        return {**self.deployment.environment, "SUPABASE_URL": self.gate.url}

    def _started(self, process: Process) -> Process:
        self.processes.append(process)
        process.start()
        return process

    def stop(self) -> None:
        """End what was started."""
        self.gate.released.set()
        for process in reversed(self.processes):
            process.stop()
        self.deployment.app.close()

    def revision(self) -> str:
        """Where the schema is."""
        return str(self.deployment.query("SELECT version_num FROM argosy.alembic_version")[0][0])

    def state(self, transfer_id: str) -> str | None:
        """Where a transfer is; None before its row is there."""
        rows = self.deployment.query(
            "SELECT state FROM argosy.transfers WHERE id = :id", id=transfer_id
        )
        return str(rows[0].state) if rows else None

    def send_and_hold(self, *sizes: int) -> Callable[[], None]:
        """Send files, and have a part of a large one wait; returns what lets it go on."""
        self.gate.released.clear()
        before = held(self.gate)
        self.gate.hold = lambda passing: passing.part == PARTS
        self.send(*sizes)
        until_held(self.gate, before + 1)
        self.gate.hold = lambda _passing: False
        return self.gate.released.set

    def check(self) -> None:
        """Every file that was sent has arrived, whole, and once."""
        references = [self._check(*one) for one in self.sent.values()]
        names = self.deployment.objects(self.sender.agent)
        assert names == sorted(one.path for one in references)
        assert not self.deployment.unfinished_uploads(self.sender.agent)

    def _check(self, source: Path, result: AsyncResult) -> FileReference:
        reference = FileReference.parse(result.get(timeout=RESULT_SECONDS))
        assert reference.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
        assert self._stored_sha256(reference) == reference.sha256
        completed = self.deployment.query(
            "SELECT 1 FROM argosy.events WHERE transfer_id = :id AND name = 'transfer.completed'",
            id=result.id,
        )
        assert len(completed) == 1
        return reference

    def _stored_sha256(self, reference: FileReference) -> str:
        settings = self.deployment.settings
        endpoint = Endpoint(
            f"{settings.supabase_url}/storage/v1/s3",
            settings.project_ref,
            settings.supabase_anon_key.get_secret_value(),
        )
        store = ObjectStore(endpoint, lambda: Mint(settings).token_for(reference.owner))
        digest = hashlib.sha256()
        for block in store.get(reference.bucket, reference.path):
            digest.update(block)
        return digest.hexdigest()


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldVersion:
    return OldVersion(tmp_path_factory.mktemp("old"))


@pytest.fixture
def voyage(tmp_path: Path, old: OldVersion) -> Iterator[Voyage]:
    """Servers made ready by the old version, with an agent that it has added."""
    deployment = Deployment(tmp_path)
    assert deployment.stack
    with ExitStack() as ended:
        ended.callback(deployment.stack.stop)
        deployment.stack.start_servers()
        old.run(deployment.operator_environment, "bootstrap")
        gate = ended.enter_context(gate_to(deployment.environment["SUPABASE_URL"]))
        made = Voyage(deployment, old, gate, _sender(deployment, old), _files(deployment))
        ended.callback(made.stop)
        yield made


def _sender(deployment: Deployment, old: OldVersion) -> Sender:
    environment = deployment.environment
    app = Celery("agent", broker=environment["BROKER_URL"], backend=environment["RESULT_URL"])
    app.conf.update(broker_transport_options={"confirm_publish": True})
    app.set_current()
    app.set_default()
    deployment.app = app
    told = json.loads(
        old.run(deployment.operator_environment, "agents", "add", "traveller", "--json")
    )
    return Sender(AgentInTest(UUID(told["id"]), "traveller", told["key"], deployment.settings))


def _files(deployment: Deployment) -> dict[int, Path]:
    return {size: deployment.make_file(f"{size}.bin", size) for size in (LARGE, SMALL)}


def test_the_old_version_is_what_runs(voyage: Voyage) -> None:
    old = voyage.old
    assert voyage.revision() == REVISION
    found = old.files(voyage.deployment.environment)
    assert found
    assert all(path.is_relative_to(old.folder) for path in found)
    worker = voyage.start_old_worker("old-1")
    process = psutil.Process(worker.pid)
    assert process.environ()["PYTHONPATH"] == str(old.folder)
    assert process.cwd() == str(old.folder)
    worker.ask_to_end()
    assert worker.wait() == 0
    assert not worker.has_said("worker.leaves"), "only the new version says that"


def test_an_upgrade_in_the_middle_of_transfers(voyage: Voyage) -> None:
    """Expand: the new schema comes first, then new workers beside the old ones, then alone."""
    olds = [voyage.start_old_worker(name) for name in ("old-1", "old-2")]
    beat: Beat = voyage.start_old_beat()
    go_on = voyage.send_and_hold(LARGE, SMALL, SMALL)
    voyage.deployment.run("bootstrap")
    assert voyage.revision() > REVISION
    [large, *_] = voyage.sent
    assert voyage.state(large) == "moving"
    voyage.send(SMALL, LARGE)
    go_on()
    for name in ("new-1", "new-2"):
        voyage.start_new_worker(name)
    go_on = voyage.send_and_hold(SMALL, LARGE, SMALL)
    beat.stop()
    voyage.start_new_beat()
    for one in olds:
        one.ask_to_end()
    go_on()
    assert [one.wait() for one in olds] == [0, 0]
    voyage.send(SMALL)
    voyage.check()


def test_each_version_goes_on_with_what_the_other_began(voyage: Voyage) -> None:
    """Nobody else is there to do it: all messages of one version are for the other."""
    old, beat = voyage.start_old_worker("old-1"), voyage.start_old_beat()
    go_on = voyage.send_and_hold(LARGE, SMALL)
    voyage.deployment.run("bootstrap")
    _end_with_work_left(old, go_on)
    beat.stop()
    new, beat = voyage.start_new_worker("new-1"), voyage.start_new_beat()
    voyage.check()
    go_on = voyage.send_and_hold(LARGE, SMALL, SMALL)
    _end_with_work_left(new, go_on)
    beat.stop()
    voyage.start_old_worker("old-2")
    voyage.start_old_beat()
    voyage.check()


def _end_with_work_left(worker: Worker, go_on: Callable[[], None]) -> None:
    """Whoever has the part in its hands finishes it, and puts nothing together."""
    worker.ask_to_end()
    go_on()
    assert worker.wait() == 0


def test_the_way_back_in_the_middle_of_transfers(voyage: Voyage) -> None:
    """New workers first, then the schema, with only old workers left."""
    voyage.deployment.run("bootstrap")
    new = voyage.start_new_worker("new-1")
    voyage.start_old_beat()
    voyage.start_old_worker("old-1")
    voyage.send(LARGE, SMALL)
    new.ask_to_end()
    assert new.wait() == 0
    go_on = voyage.send_and_hold(LARGE, SMALL)
    voyage.deployment.run("migrate", "--revision", REVISION)
    assert voyage.revision() == REVISION
    voyage.send(SMALL)
    go_on()
    voyage.check()
    assert voyage.old.run(voyage.deployment.operator_environment, "bootstrap")
    voyage.send(SMALL)
    voyage.check()
