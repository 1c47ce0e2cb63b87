"""A file's time is lengthened: by whom, how far, and what ends with it."""

from __future__ import annotations

import asyncio
import json
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from argosy import AsyncClient, Client
from argosy.errors import AccessDenied, InvalidRequest, ObjectNotFound
from argosy.reference import FileReference
from tasks import transfer
from tests.conftest import RESULT_SECONDS
from tests.deployment import ARGOSY, AgentInTest, Deployment
from tests.integration.client.agents import add_agent, process_environment
from tests.integration.client.conftest import MakeClient, make_client
from tests.integration.derivatives import Requester, family_of, store_of
from tests.integration.expiring import events, now

__all__ = ["make_client"]  # a fixture of theirs


@pytest.fixture
def owner(agent: AgentInTest) -> Requester:
    return Requester(agent)


@pytest.fixture
def other(deployment: Deployment) -> Requester:
    return Requester(deployment.add_agent())


@pytest.fixture
def file(owner: Requester) -> FileReference:
    return owner.store(b"to be kept for longer")


def _extended(asks: Requester, file: FileReference, *days: float) -> FileReference:
    return FileReference.parse(asks.do(transfer.extend, file.document(), *days))


def _end(deployment: Deployment, file: FileReference) -> datetime:
    found = deployment.transfer(str(file.id)).expires_at
    assert found
    return found


def _grants(deployment: Deployment, file: FileReference) -> set[datetime]:
    rows = deployment.query(
        "SELECT expires_at FROM argosy.grants WHERE transfer_id = :id", id=file.id
    )
    return {row.expires_at for row in rows}


def _is_in(deployment: Deployment, moment: datetime | None, days: float) -> bool:
    assert moment
    left = moment - now(deployment)
    return timedelta(days=days) - timedelta(minutes=2) < left <= timedelta(days=days)


def test_it_is_said_everywhere(deployment: Deployment, owner: Requester) -> None:
    family = family_of(deployment, owner, b"a family " * 1000)
    kept = _extended(owner, family.file, 30)
    ends = _end(deployment, family.file)
    assert kept.expires_at == ends
    assert _is_in(deployment, ends, 30)
    row = deployment.transfer(str(family.file.id))
    assert FileReference.parse(row.reference or {}).expires_at == ends
    for path in family.paths:
        head = store_of(owner.agent).head(family.file.bucket, path)
        assert datetime.fromisoformat(head.metadata["expires-at"]) == ends
    assert {one.kind for one in kept.derivatives} == {"thumbnail", "compress"}
    [event] = events(deployment, family.file.id, "file.extended")
    assert datetime.fromisoformat(event.detail["until"]) == ends


def test_by_the_compressed_copy(deployment: Deployment, owner: Requester) -> None:
    family = family_of(deployment, owner, b"a family " * 1000)
    kept = _extended(owner, family.compressed, 30)
    assert (kept.path, kept.encoding) == (family.compressed.path, "zstd")
    assert kept.expires_at == _end(deployment, family.file)


def test_as_long_as_a_new_file_by_default(
    deployment: Deployment, owner: Requester, file: FileReference
) -> None:
    before = _end(deployment, file)
    kept = _extended(owner, file)
    assert kept.expires_at
    assert kept.expires_at > before
    assert _is_in(deployment, kept.expires_at, deployment.settings.retention_days)


def test_never_shorter(deployment: Deployment, owner: Requester, file: FileReference) -> None:
    before = _end(deployment, file)
    assert _extended(owner, file, 1).expires_at == before
    assert _end(deployment, file) == before
    assert events(deployment, file.id, "file.extended") == []


def test_whom_a_message_lets_read_it_may_for_as_long_as_it_is_kept(
    deployment: Deployment, owner: Requester, other: Requester, file: FileReference
) -> None:
    """For longer than the pin would have let it."""
    owner.do(transfer.pin, str(uuid4()), [file.document()], other.agent.name)
    assert max(_grants(deployment, file)) > _end(deployment, file)
    _extended(owner, file, 60)
    assert _grants(deployment, file) == {_end(deployment, file)}


@pytest.mark.parametrize("days", [91, 0, -1, float("nan"), "many"])
def test_no_further_than_the_limit(
    deployment: Deployment, owner: Requester, file: FileReference, days: float
) -> None:
    before = _end(deployment, file)
    with pytest.raises(InvalidRequest) as caught:
        _extended(owner, file, days)
    if days == 91:
        assert caught.value.message.startswith(f"{file.name} can be kept for 90 days from now at ")
    assert _end(deployment, file) == before


def test_what_ends_with_it_ends_later(
    deployment: Deployment, owner: Requester, other: Requester, file: FileReference
) -> None:
    """And what was to end before it ends then."""
    third = deployment.add_agent()
    owner.do(transfer.share, file.document(), [other.agent.name])
    owner.do(transfer.share, file.document(), [third.name], seconds=3600)
    before = _grants(deployment, file)
    ends = _extended(owner, file, 30).expires_at
    assert (before - _grants(deployment, file), _grants(deployment, file) - before) == (
        {file.expires_at},
        {ends},
    )


def test_an_end_that_was_said_holds(
    deployment: Deployment, owner: Requester, other: Requester, file: FileReference
) -> None:
    """Though the file ends before it when it is said, and whoever may write extends the file."""
    names, eight_days = [other.agent.name], 8 * 24 * 3600
    owner.do(transfer.share, file.document(), names, access="write", seconds=eight_days)
    assert _grants(deployment, file) == {file.expires_at}
    for days in (30, 60):
        _extended(other, file, days)
        [ends] = _grants(deployment, file)
        assert _is_in(deployment, ends, 8)


def test_who_may(
    deployment: Deployment, owner: Requester, other: Requester, file: FileReference
) -> None:
    with pytest.raises(ObjectNotFound):
        _extended(other, file, 30)
    owner.do(transfer.share, file.document(), [other.agent.name])
    with pytest.raises(AccessDenied, match="no grant"):
        _extended(other, file, 30)
    assert _end(deployment, file) == file.expires_at
    owner.do(transfer.share, file.document(), [other.agent.name], access="write")
    assert _is_in(deployment, _extended(other, file, 30).expires_at, 30)
    admin = Requester(deployment.add_agent("admin"))
    assert _is_in(deployment, _extended(admin, file, 40).expires_at, 40)


def test_a_message_that_comes_again(
    deployment: Deployment, owner: Requester, file: FileReference
) -> None:
    task_id = str(uuid4())
    first, again = (
        owner.send(transfer.extend, file.document(), 30, task_id=task_id).get(
            timeout=RESULT_SECONDS
        )
        for _ in range(2)
    )
    assert first == again
    assert len(events(deployment, file.id, "file.extended")) == 1


def test_a_file_that_does_not_expire(deployment: Deployment, owner: Requester) -> None:
    kept = owner.store(b"for ever", bucket=deployment.settings.persistent_bucket)
    assert _extended(owner, kept, 30).expires_at is None


def test_a_file_that_nobody_registered(owner: Requester, file: FileReference) -> None:
    unknown = file.model_copy(update={"id": uuid4()})
    assert _extended(owner, unknown).id == file.id  # the path says which it is
    nowhere = file.model_copy(update={"path": f"{owner.agent.id}/nowhere.bin"})
    with pytest.raises(ObjectNotFound):
        _extended(owner, nowhere)


# From a program, and from a shell


@pytest.fixture
def client(make_client: MakeClient, agent: AgentInTest) -> Client:
    return make_client(agent)


def test_by_the_client(deployment: Deployment, client: Client) -> None:
    known = client.upload_file(b"by the client")
    assert client.get_file_metadata(known).expires_at
    kept = client.extend(known, 30)
    assert _is_in(deployment, kept.expires_at, 30)
    assert client.get_file_metadata(known).expires_at == kept.expires_at
    again = client.extend(f"{known.bucket}/{known.path}", 40)
    assert _is_in(deployment, again.expires_at, 40)


def test_by_the_asynchronous_client(
    deployment: Deployment, client: Client, agent: AgentInTest
) -> None:
    known = client.upload_file(b"by the other client")

    async def extend() -> FileReference:
        async with AsyncClient(client.settings, agent=agent.name, key=agent.key) as asks:
            return await asks.extend(known, 50)

    assert _is_in(deployment, asyncio.run(extend()).expires_at, 50)


def test_by_the_command(deployment: Deployment, tmp_path: Path) -> None:
    shell = process_environment(add_agent(deployment, f"cli-{uuid4().hex[:8]}"), tmp_path)

    def run(*words: str) -> str:
        done = subprocess.run(
            [ARGOSY, *words], env=shell, capture_output=True, text=True, check=True
        )
        return done.stdout

    (tmp_path / "note.txt").write_text("to be kept")
    place = run("upload", str(tmp_path / "note.txt")).strip()
    assert run("extend", place, "--days", "30").startswith(f"{place}  until ")
    kept = FileReference.parse(json.loads(run("extend", place, "--json")))
    assert _is_in(deployment, kept.expires_at, 30)
