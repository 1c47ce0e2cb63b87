"""`upload_file` when something fails: it goes on, later or at once, or leaves nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from argosy import Client, Error, UploadOptions
from argosy.deadline import Deadline
from argosy.direct.upload import upload
from argosy.errors import (
    AccessDenied,
    ChecksumMismatch,
    DeadlineExceeded,
    FleetUnavailable,
    InvalidRequest,
    SourceChanged,
    StorageRefused,
    StorageUnavailable,
    TransferCancelled,
)
from argosy.progress import Meter
from tests.deployment import AgentInTest, Deployment

from .clock import Clock
from .conftest import MakeClient
from .gate import Fault, Gate, Passing, answer, gate_to
from .test_upload import IN_PARTS, MIB, SIZE, Heard, check_nothing_left, check_stored, journals

HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
NOWHERE = "amqp://guest:guest@127.0.0.1:1//"


@pytest.fixture
def gate(deployment: Deployment) -> Iterator[Gate]:
    with gate_to(deployment.settings.supabase_url) as made:
        yield made


@pytest.fixture
def through(make_client: MakeClient, agent: AgentInTest, gate: Gate) -> Client:
    """A client behind the gate, for which 12 MiB are three parts, sent one by one."""
    return make_client(
        agent,
        supabase_url=gate.url,
        parallel=1,
        storage_attempts=3,
        **IN_PARTS,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "cargo.bin"
    made.write_bytes(os.urandom(SIZE))
    return made


def once(wanted: Callable[[Passing], bool], what: bytes | int) -> Fault:
    """This befalls the first request that is wanted."""
    left = [what]
    return lambda passing: left.pop() if left and wanted(passing) else None


def always(wanted: Callable[[Passing], bool], what: bytes | int) -> Fault:
    return lambda passing: what if wanted(passing) else None


def second_part(passing: Passing) -> bool:
    return passing.part == 2


PASSING_TROUBLE = {
    "HTML from a gateway": answer(502, HTML, Content_Type="text/html"),
    "Retry-After": answer(503, "", Retry_After="1"),
    "HTML that claims success": answer(200, HTML, Content_Type="text/html"),
    "another part's ETag": answer(200, "", ETag='"0123456789abcdef0123456789abcdef"'),
    "a cut at once": 0,
    "a cut in the middle": 2 * MIB,
}


@pytest.mark.parametrize("where", ["a part", "the completion", "a whole object"])
def test_passing_trouble_is_passed_over(
    through: Client, gate: Gate, path: Path, where: str
) -> None:
    befallen = {
        "a part": second_part,
        "the completion": lambda passing: passing.is_completion,
        "a whole object": lambda passing: passing.is_put,
    }[where]
    for what in PASSING_TROUBLE.values():
        path.write_bytes(os.urandom(5 * MIB if where == "a whole object" else SIZE))
        heard = Heard()
        gate.passed.clear()
        gate.fault = once(befallen, what)
        reference = through.upload_file(path, options=UploadOptions(subscribers=(heard,)))
        check_stored(through, reference, path.read_bytes())
        heard.check_exact(reference)
        if where == "a part":
            assert gate.asked_parts == {1: 1, 2: 2, 3: 1}
        assert journals(through) == []


def test_a_lost_answer_to_the_completion(through: Client, gate: Gate, path: Path) -> None:
    """Storage has done it, and knows the upload no more when it is asked again."""
    lost: list[Passing] = []

    def lose(passing: Passing) -> bool:
        if passing.is_completion:
            lost.append(passing)
        return lost == [passing]

    gate.lose = lose
    reference = through.upload_file(path)
    assert len(lost) == 2
    check_stored(through, reference, path.read_bytes())


def test_trouble_that_stays_is_gone_on_with_later(
    through: Client, gate: Gate, path: Path, deployment: Deployment, agent: AgentInTest
) -> None:
    gate.fault = always(second_part, answer(503, ""))
    first = Heard()
    with pytest.raises(StorageUnavailable) as caught:
        through.upload_file(path, options=UploadOptions(subscribers=(first,)))
    assert caught.value.transfer_id == first.queued[0][0]
    assert gate.asked_parts == {1: 1, 2: 3}
    gate.fault, again = once(lambda _: False, b""), Heard()
    gate.passed.clear()
    reference = through.upload_file(path, options=UploadOptions(subscribers=(again,)))
    assert str(reference.id) == caught.value.transfer_id
    assert gate.asked_parts == {2: 1, 3: 1}
    check_stored(through, reference, path.read_bytes())
    again.check_exact(reference)
    assert again.progress[0][0] > 5 * MIB, "what was there is counted from the beginning"
    assert deployment.unfinished_uploads(agent) == []
    assert journals(through) == []


def test_bytes_cannot_be_gone_on_with(
    through: Client, gate: Gate, deployment: Deployment, agent: AgentInTest
) -> None:
    gate.fault = always(second_part, answer(503, ""))
    with pytest.raises(StorageUnavailable):
        through.upload_file(bytes(SIZE))
    check_nothing_left(deployment, through, agent)


def test_what_storage_refuses_for_good_leaves_nothing(
    through: Client, gate: Gate, path: Path, deployment: Deployment, agent: AgentInTest
) -> None:
    body = "<Error><Code>InvalidRange</Code><Message>no</Message></Error>"
    gate.fault = always(second_part, answer(400, body, Content_Type="application/xml"))
    with pytest.raises(StorageRefused) as caught:
        through.upload_file(path)
    assert caught.value.transfer_id
    check_nothing_left(deployment, through, agent)


@pytest.mark.parametrize("parallel", [1, 4])
def test_no_thread_outlives_a_failure(
    through: Client, gate: Gate, path: Path, parallel: int
) -> None:
    before = {thread for thread in threading.enumerate() if "argosy" in thread.name}
    gate.fault = always(lambda passing: passing.part == 3, answer(400, "no"))
    with pytest.raises(Error):
        through.upload_file(path, options=UploadOptions(parallel=parallel))
    assert {t for t in threading.enumerate() if "argosy" in t.name} <= before


class AtBytes(Heard):
    """Does something once, in the middle of a transfer."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self._work = [work]

    def on_progress(self, *arguments: Any) -> None:
        if self._work:
            self._work.pop()()


def test_a_call_that_is_cancelled(
    through: Client, gate: Gate, path: Path, deployment: Deployment, agent: AgentInTest
) -> None:
    deadline = Deadline()
    meter = Meter((AtBytes(deadline.cancel),), every_seconds=0)
    arguments = (through._account, through._fleet, path, {}, UploadOptions())
    with pytest.raises(TransferCancelled) as caught:
        upload(*arguments, deadline, meter)
    assert journals(through)
    reference = through.upload_file(path)
    assert str(reference.id) == caught.value.transfer_id
    check_stored(through, reference, path.read_bytes())


def test_a_server_that_is_silent_for_longer_than_the_call_may_take(
    through: Client, gate: Gate, path: Path, clock: Clock
) -> None:
    def hold(passing: Passing) -> bool:
        if second_part(passing):
            clock.ahead = 601
        return second_part(passing)

    gate.hold = hold
    with pytest.raises(DeadlineExceeded) as caught:
        through.upload_file(path, options=UploadOptions(deadline_seconds=600))
    assert caught.value.transfer_id
    gate.released.set()
    gate.passed.clear()
    reference = through.upload_file(path)
    assert str(reference.id) == caught.value.transfer_id
    assert 1 not in gate.asked_parts
    check_stored(through, reference, path.read_bytes())


CHANGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: os.truncate(path, 6 * MIB),
    "emptied": lambda path: os.truncate(path, 0),
    "written to": lambda path: path.open("r+b").write(b"new"),
    "grown": lambda path: path.open("ab").write(b"new"),
    "replaced": lambda path: path.with_name("new").replace(path),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_meanwhile(
    through: Client, path: Path, deployment: Deployment, agent: AgentInTest, change: str
) -> None:
    for size in (SIZE, 5 * MIB):
        path.write_bytes(os.urandom(size))
        path.with_name("new").write_bytes(b"new")
        changing = AtBytes(lambda: CHANGES[change](path))
        with pytest.raises(SourceChanged) as caught:
            through.upload_file(path, options=UploadOptions(subscribers=(changing,)))
        assert str(path) in caught.value.message
        assert caught.value.transfer_id
        check_nothing_left(deployment, through, agent)


def _interrupt(client: Client, gate: Gate, path: Path) -> str:
    """An upload that stops after its first part: its transfer id."""
    gate.fault = always(second_part, answer(503, ""))
    with pytest.raises(StorageUnavailable) as caught:
        client.upload_file(path)
    gate.fault = always(lambda _: False, b"")
    gate.passed.clear()
    return caught.value.transfer_id or ""


def test_another_file_of_that_name_begins_anew(
    through: Client, gate: Gate, path: Path, deployment: Deployment, agent: AgentInTest
) -> None:
    before = _interrupt(through, gate, path)
    path.write_bytes(os.urandom(SIZE))
    reference = through.upload_file(path)
    assert str(reference.id) != before
    assert gate.asked_parts == {1: 1, 2: 1, 3: 1}
    check_stored(through, reference, path.read_bytes())
    assert deployment.unfinished_uploads(agent) == []


@pytest.mark.parametrize(
    "options", [{"name": "y.bin"}, {"content_type": "image/png"}, {"bucket": "persistent-data"}]
)
def test_another_wish_is_another_upload(
    through: Client, gate: Gate, path: Path, options: dict[str, str]
) -> None:
    before = _interrupt(through, gate, path)
    other = through.upload_file(path, options=UploadOptions(**options))  # type: ignore[arg-type]
    assert str(other.id) != before
    assert str(through.upload_file(path).id) == before


def test_an_upload_that_storage_has_forgotten_begins_anew(
    through: Client, gate: Gate, path: Path, deployment: Deployment, agent: AgentInTest
) -> None:
    before, heard = _interrupt(through, gate, path), Heard()
    [upload_id] = deployment.unfinished_uploads(agent)
    key = f"{agent.id}/{before}/cargo.bin"
    through._account.store().abort_multipart(through.settings.bucket, key, upload_id)
    reference = through.upload_file(path, options=UploadOptions(subscribers=(heard,)))
    assert str(reference.id) == before
    assert gate.stored_parts == {1: 1, 2: 1, 3: 1}
    check_stored(through, reference, path.read_bytes())
    heard.check_exact(reference)


@pytest.mark.parametrize("size", [SIZE, 5 * MIB], ids=["in parts", "whole"])
def test_what_the_fleet_could_not_be_told_is_told_later(
    through: Client,
    make_client: MakeClient,
    gate: Gate,
    path: Path,
    deployment: Deployment,
    agent: AgentInTest,
    size: int,
) -> None:
    path.write_bytes(os.urandom(size))
    away = make_client(agent, supabase_url=gate.url, broker_url=NOWHERE, **IN_PARTS)
    with pytest.raises(FleetUnavailable) as caught:
        away.upload_file(path)
    transfer_id = caught.value.transfer_id or ""
    assert transfer_id in caught.value.message
    gate.passed.clear()
    heard = Heard()
    reference = through.upload_file(path, options=UploadOptions(subscribers=(heard,)))
    assert str(reference.id) == transfer_id
    assert gate.body_bytes == 0
    assert deployment.transfer(transfer_id).state == "completed"
    check_stored(through, reference, path.read_bytes())
    heard.check_exact(reference)
    assert journals(through) == []


def test_what_was_stored_and_is_gone_is_sent_again(
    through: Client, make_client: MakeClient, gate: Gate, path: Path, agent: AgentInTest
) -> None:
    away = make_client(agent, supabase_url=gate.url, broker_url=NOWHERE, **IN_PARTS)
    with pytest.raises(FleetUnavailable) as caught:
        away.upload_file(path)
    key = f"{agent.id}/{caught.value.transfer_id}/cargo.bin"
    through._account.store().delete(through.settings.bucket, key)
    reference = through.upload_file(path)
    check_stored(through, reference, path.read_bytes())


def test_who_may_read_it_can_be_corrected_without_sending_it_again(
    through: Client, gate: Gate, path: Path, other: Client, deployment: Deployment
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        through.upload_file(path, options=UploadOptions(share_with=("nobody-of-that-name",)))
    assert caught.value.transfer_id
    gate.passed.clear()
    [friend] = deployment.query("SELECT name FROM argosy.agents WHERE id = :id", id=other.agent_id)
    reference = through.upload_file(path, options=UploadOptions(share_with=(friend.name,)))
    assert str(reference.id) == caught.value.transfer_id
    assert gate.body_bytes == 0
    check_stored(other, reference, path.read_bytes())


def test_bytes_that_the_fleet_refuses_are_removed(
    through: Client, deployment: Deployment, agent: AgentInTest
) -> None:
    with pytest.raises(InvalidRequest):
        through.upload_file(b"x", options=UploadOptions(share_with=("nobody-of-that-name",)))
    check_nothing_left(deployment, through, agent)


def test_an_object_that_is_not_what_was_sent_is_removed(
    through: Client, gate: Gate, deployment: Deployment, agent: AgentInTest, path: Path
) -> None:
    when = "Mon, 23 Nov 2026 00:00:00 GMT"
    other = answer(200, "", ETag='"0123456789abcdef0123456789abcdef"', Last_Modified=when)
    gate.fault = always(lambda passing: passing.method == "HEAD", other)
    with pytest.raises(ChecksumMismatch):
        through.upload_file(path)
    check_nothing_left(deployment, through, agent)


def test_without_a_folder_for_journals_it_goes_all_the_same(
    make_client: MakeClient,
    gate: Gate,
    path: Path,
    tmp_path: Path,
    deployment: Deployment,
    agent: AgentInTest,
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file, no folder")
    behind = {"supabase_url": gate.url, "parallel": 1, "storage_attempts": 3, **IN_PARTS}
    client = make_client(agent, journal_dir=taken, **behind)
    check_stored(client, client.upload_file(path), path.read_bytes())
    gate.fault = always(second_part, answer(503, ""))
    with pytest.raises(StorageUnavailable):
        client.upload_file(path)
    assert deployment.unfinished_uploads(agent) == [], "nobody could go on with it"


def test_two_calls_for_the_same_file_at_once(
    through: Client, gate: Gate, path: Path, deployment: Deployment, agent: AgentInTest
) -> None:
    gate.hold = second_part
    references: list[Any] = []
    calls = [
        threading.Thread(target=lambda: references.append(through.upload_file(path)))
        for _ in range(2)
    ]
    for call in calls:
        call.start()
    for _ in range(200):
        if gate.asked_parts[2] == 2:
            break
        threading.Event().wait(0.05)
    gate.released.set()
    for call in calls:
        call.join()
    assert len({reference.id for reference in references}) == 2
    for reference in references:
        check_stored(through, reference, path.read_bytes())
    assert deployment.unfinished_uploads(agent) == []
    assert journals(through) == []


def test_a_broker_that_does_not_let_it_in(
    through: Client, make_client: MakeClient, gate: Gate, path: Path, agent: AgentInTest
) -> None:
    """Its password is an old one: whatever is asked says so; what is stored is told of later."""
    wrong = urlsplit(through.settings.broker_url)
    login = f"{wrong.username}:old@{wrong.hostname}:{wrong.port}"
    broker = wrong._replace(netloc=login).geturl()
    away = make_client(agent, supabase_url=gate.url, broker_url=broker, **IN_PARTS)
    with pytest.raises(AccessDenied, match="check BROKER_URL"):
        away.usage()
    with pytest.raises(FleetUnavailable, match=r"is stored as .* check BROKER_URL") as caught:
        away.upload_file(path)
    gate.passed.clear()
    reference = through.upload_file(path)
    assert str(reference.id) == caught.value.transfer_id
    assert gate.body_bytes == 0
