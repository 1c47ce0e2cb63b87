"""What meets while derivatives are made: late workers, deletions, other people's rights.

Some run the fleet's own functions in this process, so that two of them can be held in step.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from argosy import FileReference, errors
from argosy.storage.s3 import ObjectStore
from models import Agent, Chunk, Transfer
from models.derivatives import claim_derivatives, enter
from tasks import compressing, delete, inherit, makers, transfer
from tasks import fleet as fleet_module
from tasks import lease as lease_module
from tasks.claims import PutBack
from tasks.fleet import Fleet
from tasks.lease import LeaseLost
from tasks.making import Maker, Output, Work, make
from tasks.requests import DeleteRequest, parse
from tasks.steps import MakingStep, inspecting, keys_of, thumbnailing
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, deployed, remote, until
from tests.integration.derivatives import Requester, family_of
from tests.integration.test_compressed_uploads import write_text
from tests.integration.test_processing import run, uploaded, write_picture

FAR = datetime(2100, 1, 1, tzinfo=UTC)
PATIENCE = 30

pytestmark = pytest.mark.skipif(remote(), reason="runs the fleet's functions in this process")


@pytest.fixture
def fleet(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The fleet, as a worker of this process would have it."""
    for name, value in deployment.environment.items():
        monkeypatch.setenv(name, value)
    made = Fleet(deployment.settings)
    monkeypatch.setattr(fleet_module, "_fleets", {os.getpid(): made})
    return made


@pytest.fixture
def picture(sender: Sender, spool: Path) -> FileReference:
    return uploaded(sender, write_picture(spool / "picture.jpg"))


class Worker:
    """Makes a step in a thread of its own; `pause` holds it before it makes anything."""

    def __init__(
        self,
        row: Transfer,
        step: MakingStep,
        maker: Maker,
        agent: AgentInTest,
        *,
        task_id: UUID | None = None,
        takeover: bool = False,
    ) -> None:
        self.arrived, self.go = threading.Event(), threading.Event()
        self.ended: str = ""
        self._maker = maker
        known = {"task_id": task_id or uuid4(), "worker": "a test", "takeover": takeover}
        self._work = lambda: make(row, agent.id, step, self._make, **known)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _make(self, work: Work, step: Any) -> Sequence[Output]:
        self.arrived.set()
        assert self.go.wait(PATIENCE)
        return self._maker(work, step)

    def _run(self) -> None:
        try:
            self._work()
            self.ended = "made"
        except (errors.Error, PutBack, LeaseLost) as error:
            self.ended = type(error).__name__

    def finish(self) -> str:
        """Let it go on, and say how it ended."""
        self.go.set()
        self._thread.join(PATIENCE)
        return self.ended


def row_of(deployment: Deployment, reference: FileReference) -> Transfer:
    return deployment.transfer(str(reference.id))


def states(deployment: Deployment, reference: FileReference) -> list[str]:
    rows = deployment.query(
        "SELECT state FROM argosy.derivatives WHERE transfer_id = :id ORDER BY parameters",
        id=reference.id,
    )
    return [row.state for row in rows]


def deleted(sender: Sender, reference: FileReference) -> None:
    sent = transfer.delete.s(reference).apply_async(headers=sender.headers)
    sent.get(timeout=RESULT_SECONDS)


# Whose word, whose rights


def test_who_was_given_a_thumbnail_learns_nothing_of_the_picture(
    deployment: Deployment, sender: Sender, picture: FileReference
) -> None:
    made = run(sender, transfer.thumbnail.s(picture, sizes=[32]))
    place = {"bucket": picture.bucket, "path": made.derivatives[0].path}
    other = deployment.add_agent()
    shared = transfer.share.s(place, share_with=[other.name]).apply_async(headers=sender.headers)
    shared.get(timeout=RESULT_SECONDS)
    guess = {**picture.document(), **place, "name": "guess", "sha256": "0" * 64, "metadata": {}}
    for task in (transfer.inspect, transfer.provenance, transfer.thumbnail, transfer.compress):
        sent = task.s(guess).apply_async(headers=Sender(other).headers)
        with pytest.raises(errors.ObjectNotFound):
            sent.get(timeout=RESULT_SECONDS)
    assert states(deployment, picture) == ["made"]


def test_a_thumbnails_path_is_no_file_for_its_owner_either(
    sender: Sender, picture: FileReference
) -> None:
    made = run(sender, transfer.thumbnail.s(picture, sizes=[32]))
    guess = {**picture.document(), "path": made.derivatives[0].path}
    with pytest.raises(errors.InvalidReference):
        run(sender, transfer.inspect.s(guess))


def test_what_another_began_is_made_with_the_askers_rights(
    deployment: Deployment, sender: Sender, picture: FileReference, fleet: Fleet
) -> None:
    stranger, step = deployment.add_agent(), thumbnailing(fleet.settings, sizes=[32])
    fleet.transact(lambda session: enter(session, picture.id, stranger.id, keys_of(step)))
    assert run(sender, transfer.thumbnail.s(picture, sizes=[32])).derivatives[0].state == "made"


# Two at once


def test_what_another_has_made_meanwhile_is_seen(
    deployment: Deployment, sender: Sender, picture: FileReference, fleet: Fleet
) -> None:
    row = row_of(deployment, picture)
    small = Worker(row, thumbnailing(fleet.settings, sizes=[64]), makers.thumbnail, sender.agent)
    assert small.arrived.wait(PATIENCE)
    both = Worker(row, thumbnailing(fleet.settings, sizes=[32, 64]), makers.thumbnail, sender.agent)
    assert both.arrived.wait(PATIENCE)
    assert small.finish() == "made"
    assert both.finish() == "made"


def test_a_message_that_came_back_takes_nobody_elses_work(
    deployment: Deployment, sender: Sender, picture: FileReference, fleet: Fleet
) -> None:
    row, step = row_of(deployment, picture), thumbnailing(fleet.settings, sizes=[32])
    task_id = uuid4()
    first = Worker(row, step, makers.thumbnail, sender.agent, task_id=task_id)
    assert first.arrived.wait(PATIENCE)
    other = Worker(row, step, makers.thumbnail, sender.agent, takeover=True)
    assert other.finish() == "PutBack"
    again = Worker(row, step, makers.thumbnail, sender.agent, task_id=task_id, takeover=True)
    assert again.arrived.wait(PATIENCE)
    assert again.finish() == "made"
    assert first.finish() == "LeaseLost"
    assert states(deployment, picture) == ["made"]


def test_a_worker_that_is_too_late_ends_nobody_elses_upload(
    deployment: Deployment, sender: Sender, spool: Path, fleet: Fleet
) -> None:
    reference = uploaded(sender, write_text(spool / "words.txt", 40 * MB))
    row, step = row_of(deployment, reference), compressing.compressing(fleet.settings)
    task_id = uuid4()
    late = Worker(row, step, compressing.compress, sender.agent, task_id=task_id)
    assert late.arrived.wait(PATIENCE)
    other = Worker(row, step, compressing.compress, sender.agent, task_id=task_id, takeover=True)
    assert other.arrived.wait(PATIENCE)
    assert late.finish() == "LeaseLost"
    assert other.finish() == "made"
    assert not deployment.unfinished_uploads(sender.agent)


def test_a_compressed_copy_that_takes_too_long_is_given_up(
    deployment: Deployment,
    sender: Sender,
    spool: Path,
    fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its message would come again, and another worker begin anew, again and again."""
    reference = uploaded(sender, write_text(spool / "words.txt", 40 * MB))
    monkeypatch.setattr(lease_module, "PASS_SECONDS", -1)
    step = compressing.compressing(fleet.settings)
    with pytest.raises(errors.CompressionStopped, match=r"within the 14 minutes .* lower level"):
        _make(deployment, reference, step, compressing.compress, sender.agent)
    assert states(deployment, reference) == ["failed"]
    assert not deployment.unfinished_uploads(sender.agent)
    assert deployment.objects(sender.agent) == [reference.path]
    again = run(sender, transfer.compress.s(reference))  # by workers that have their time
    assert again.encoding == "zstd"


def test_a_failure_is_entered_whole_or_not(
    deployment: Deployment, sender: Sender, picture: FileReference, fleet: Fleet
) -> None:
    step, task_id = thumbnailing(fleet.settings, sizes=[32, 64]), uuid4()

    def loses_one(work: Work, _step: Any) -> Sequence[Output]:
        def steal(session: Any) -> None:
            claim_derivatives(
                session,
                work.derivatives[:1],
                agent_id=sender.agent.id,
                task_id=task_id,
                lease_seconds=60,
                worker="a thief",
                takeover=True,
            )

        fleet.transact(steal)
        raise errors.DamagedFile("broken")

    loser = Worker(row_of(deployment, picture), step, loses_one, sender.agent, task_id=task_id)
    assert loser.finish() == "LeaseLost"
    assert states(deployment, picture) == ["due", "due"]


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment that sends nothing again for longer than these tests wait."""
    settings = {"ARGOSY_REPUBLISH_SECONDS": "600", "ARGOSY_LEASE_SECONDS": "30"}
    with deployed(tmp_path_factory.mktemp("patient"), settings) as made:
        yield made


@pytest.fixture
def patient_sender(patient: Deployment) -> Sender:
    patient.app.set_current()
    return Sender(patient.add_agent())


def test_who_asks_for_overlapping_sizes_waits_for_no_second_message(
    patient: Deployment, patient_sender: Sender
) -> None:
    reference = uploaded(patient_sender, write_picture(patient.spool / "large.jpg", (4000, 3000)))
    sent = [
        transfer.thumbnail.s(reference, sizes=sizes).apply_async(headers=patient_sender.headers)
        for sizes in ([512, 1024], [128, 512], [64, 512, 128], [64, 1024])
    ]
    for result in sent:
        assert result.get(timeout=60)


def test_a_second_pass_with_fewer_parts(patient: Deployment, patient_sender: Sender) -> None:
    """Another version of the library has stored more: what it has left does not count."""
    source = write_text(patient.spool / "words.txt", 200 * MB)
    sent = patient_sender.upload(source, compress="zstd")
    stored = "SELECT 1 FROM argosy.transfers WHERE id = :id AND bytes_done > 0"
    until(lambda: patient.query(stored, id=sent.id), what="a part that is stored")
    left = Chunk(transfer_id=UUID(sent.id), number=90, offset=0, length=5, state="stored")
    left.etag = "0" * 32
    patient.transact(lambda session: session.add(left))
    assert FileReference.parse(sent.get(timeout=RESULT_SECONDS)).encoding == "zstd"


# Deletions


def test_what_a_killed_worker_has_stored_goes_with_its_file(
    deployment: Deployment, sender: Sender, picture: FileReference, fleet: Fleet
) -> None:
    def killed(work: Work, step: Any) -> Sequence[Output]:
        makers.thumbnail(work, step)
        raise SystemExit

    step = thumbnailing(fleet.settings, sizes=[32, 64])
    with pytest.raises(SystemExit):
        _make(deployment, picture, step, killed, sender.agent)
    assert len(deployment.objects(sender.agent)) == 3
    deleted(sender, picture)
    assert not deployment.objects(sender.agent)


def test_what_a_failed_step_has_stored_goes_with_its_file(
    deployment: Deployment,
    sender: Sender,
    picture: FileReference,
    fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, stored = makers._store, []

    def once(*arguments: Any) -> Any:
        if stored:
            raise errors.StorageRefused("no more")
        stored.append(whole(*arguments))
        return stored[0]

    monkeypatch.setattr(makers, "_store", once)
    step = thumbnailing(fleet.settings, sizes=[32, 64])
    with pytest.raises(errors.StorageRefused):
        _make(deployment, picture, step, makers.thumbnail, sender.agent)
    assert len(deployment.objects(sender.agent)) == 2
    deleted(sender, picture)
    assert not deployment.objects(sender.agent)


def test_what_is_stored_while_its_file_is_deleted_goes_too(
    deployment: Deployment, sender: Sender, picture: FileReference, fleet: Fleet
) -> None:
    request = parse(DeleteRequest, reference=picture.document())
    doomed = fleet.transact(
        lambda session: delete._doomed(session, session.get_one(Agent, sender.agent.id), request)
    )
    row, step = row_of(deployment, picture), thumbnailing(fleet.settings, sizes=[32])

    def is_deleted_first(work: Work, step: Any) -> Sequence[Output]:
        made = makers.thumbnail(work, step)
        delete._remove(sender.agent.id, doomed)
        for path in fleet.transact(lambda session: delete._enter(session, _Task(sender), doomed)):
            fleet.store_as_service().delete(picture.bucket, path)
        return made

    late = Worker(row, step, is_deleted_first, sender.agent)
    assert late.finish() == "LeaseLost"
    assert not deployment.objects(sender.agent)
    assert not states(deployment, picture)


def test_what_one_size_has_stored_goes_where_the_next_finds_the_file_deleted(
    deployment: Deployment,
    sender: Sender,
    picture: FileReference,
    fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is stored once whoever deletes the file has removed what lay there."""
    noted, places = Work.place, []

    def deletes(work: Work, one: Any, leaf: str) -> str:
        places.append(noted(work, one, leaf))
        deleted(sender, picture)
        return places[-1]

    monkeypatch.setattr(Work, "place", deletes)
    step = thumbnailing(fleet.settings, sizes=[32, 64])
    with pytest.raises(LeaseLost):
        _make(deployment, picture, step, makers.thumbnail, sender.agent)
    assert len(places) == 1
    assert not deployment.objects(sender.agent)


@pytest.mark.parametrize("looks", ["before its place is known", "before it is there"])
def test_what_a_worker_stores_that_dies_while_its_file_is_deleted_goes_too(
    deployment: Deployment,
    sender: Sender,
    picture: FileReference,
    fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
    looks: str,
) -> None:
    """Whoever deletes the file has looked, and removed what was there, before it came."""
    request, found = parse(DeleteRequest, reference=picture.document()), []
    noted = Work.place

    def look() -> None:
        agent = sender.agent.id
        found.append(fleet.transact(lambda s: delete._doomed(s, s.get_one(Agent, agent), request)))
        delete._remove(agent, found[0])

    def place(work: Work, one: Any, leaf: str) -> str:
        if looks == "before its place is known":
            look()
        path = noted(work, one, leaf)
        if looks == "before it is there":
            look()
        return path

    def is_killed(work: Work, step: Any) -> Sequence[Output]:
        makers.thumbnail(work, step)
        for path in fleet.transact(lambda s: delete._enter(s, _Task(sender), found[0])):
            fleet.store_as_service().delete(picture.bucket, path)
        raise SystemExit

    monkeypatch.setattr(Work, "place", place)
    step = thumbnailing(fleet.settings, sizes=[32])
    with pytest.raises(SystemExit):
        _make(deployment, picture, step, is_killed, sender.agent)
    assert not deployment.objects(sender.agent)
    assert not states(deployment, picture)


def test_a_stray_goes_although_another_step_is_in_the_books(
    deployment: Deployment, sender: Sender, spool: Path, fleet: Fleet
) -> None:
    reference = uploaded(sender, write_text(spool / "words.txt", 200_000))

    def meets_others(work: Work, step: Any) -> Sequence[Output]:
        made = compressing.compress(work, step)
        deleted(sender, reference)
        with pytest.raises(errors.ObjectNotFound):
            _make(deployment, reference, inspecting(fleet.settings), makers.inspect, sender.agent)
        return made

    step = compressing.compressing(fleet.settings)
    with pytest.raises(LeaseLost):
        _make(deployment, reference, step, meets_others, sender.agent)
    assert not deployment.objects(sender.agent)


def test_a_copy_promises_nothing_that_went_before_it_was_copied(
    deployment: Deployment, agent: AgentInTest, fleet: Fleet
) -> None:
    """Its worker had entered the derivatives and died; their file was deleted then."""
    owner = Requester(agent)
    file = family_of(deployment, owner, b"cargo " * 1000).file
    heir = _half_made_copy(deployment, fleet, agent, file)
    fleet.transact(lambda session: inherit._enter(session, heir))
    owner.do(transfer.delete, file.document())
    inherit.inherit(heir, _Lease())  # type: ignore[arg-type]  # whoever takes over
    copied = fleet.transact(lambda session: inherit.copied(session, heir))
    assert [one.path for one in copied.derivatives] == []
    assert deployment.objects(agent) == [heir.object_name]


def test_who_dies_while_it_removes_what_was_copied_too_much_leaves_it_to_the_next(
    deployment: Deployment, agent: AgentInTest, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Requester(agent)
    file = family_of(deployment, owner, b"cargo " * 1000).file
    heir = _half_made_copy(deployment, fleet, agent, file)
    inherit.inherit(heir, _Lease())  # type: ignore[arg-type]  # it dies before it is completed
    owner.do(transfer.delete, file.document())

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(ObjectStore, "delete", killed)
        inherit.inherit(heir, _Lease())  # type: ignore[arg-type]  # as is this one
    inherit.inherit(heir, _Lease())  # type: ignore[arg-type]  # whoever takes over
    assert deployment.objects(agent) == [heir.object_name]


class _Lease:
    def check(self, _moved: int = 0) -> None:
        """It stands."""


class _Task:
    """What the end of a deletion looks at."""

    def __init__(self, sender: Sender) -> None:
        self.request = self
        self.acting_for, self.id = sender.agent.id, str(uuid4())


def _make(
    deployment: Deployment,
    reference: FileReference,
    step: MakingStep,
    maker: Callable[..., Any],
    agent: AgentInTest,
) -> None:
    make(
        row_of(deployment, reference),
        agent.id,
        step,
        maker,
        task_id=uuid4(),
        worker="a test",
        takeover=False,
    )


def _half_made_copy(
    deployment: Deployment, fleet: Fleet, agent: AgentInTest, file: FileReference
) -> Transfer:
    """A copy in its assembly: its object is there, and a worker has it in hand."""
    identity = uuid4()
    path = f"{agent.id}/{identity}/cargo.bin"
    original = deployment.transfer(str(file.id))
    origin = {"bucket": file.bucket, "path": file.path, "id": str(file.id), "etag": original.etag}
    row = Transfer(
        id=identity,
        kind="copy",
        state="assembling",
        agent_id=agent.id,
        request_sha256="0",
        bucket=file.bucket,
        object_name=path,
        name="cargo.bin",
        content_type=file.content_type,
        path="",
        size=file.size,
        sha256=file.sha256,
        md5=file.md5,
        part_size=file.size,
        part_count=1,
        chunks_left=0,
        epoch=1,
        lease_until=FAR,
        republish_at=FAR,
        reference=file.document(),
        copied_from=origin,
    )
    deployment.transact(lambda session: session.add(row))
    store = fleet.store_for(agent.id)
    store.copy(
        (file.bucket, file.path), file.bucket, path, content_type=file.content_type, metadata={}
    )
    return deployment.transfer(str(identity))
