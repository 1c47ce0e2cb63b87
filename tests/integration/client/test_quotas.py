"""Quotas on a running fleet: what is over them is refused in words, and leaves nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery.result import AsyncResult

from argosy import Client, FileReference, UploadOptions
from argosy.auth import TOKEN_HEADER
from argosy.errors import InvalidToken, QuotaExceeded, TransferCancelled
from argosy.settings import LEAST_RATE
from models import Derivative, Making, State
from tasks import transfer
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, until
from tests.integration.own_uploads import OwnUploader
from worker.agents import limit_agent

KB = 1000
PARTS = 9_000_000
"""Two parts, at the slowest rate; a small file for any other."""

Limit = Callable[..., None]


@pytest.fixture
def limit(deployment: Deployment, agent: AgentInTest) -> Limit:
    """Sets limits of this test's agent."""

    def set_them(**limits: int | None) -> None:
        limit_agent(deployment.settings, agent.name, **limits)

    return set_them


def result_of(asked: AsyncResult) -> Any:
    return asked.get(timeout=RESULT_SECONDS)


def upload(deployment: Deployment, sender: Sender, size: int) -> FileReference:
    source = deployment.make_file(f"{uuid4().hex}.bin", size)
    return FileReference.parse(result_of(sender.upload(source)))


def refused(asked: AsyncResult) -> str:
    """What is said of it."""
    with pytest.raises(QuotaExceeded) as caught:
        result_of(asked)
    assert caught.value.transfer_id == asked.id
    return caught.value.message


def left_nothing(deployment: Deployment, asked: AsyncResult) -> None:
    until(lambda: deployment.transfer(asked.id).cleaned_at, what="the clean-up")
    row = deployment.transfer(asked.id)
    assert (row.state, row.error_code) == (State.FAILED, "quota_exceeded")
    assert not [
        one.name
        for one in deployment.query(
            "SELECT name FROM storage.objects WHERE name = :name", name=row.object_name
        )
    ]


# Bytes in Storage


def test_what_is_over_the_stored_bytes(
    deployment: Deployment, sender: Sender, limit: Limit, spool: Path
) -> None:
    limit(max_bytes=1000)
    upload(deployment, sender, 600)
    asked = sender.upload(deployment.make_file("second.bin", 401))
    assert refused(asked) == (
        f"second.bin has 401 bytes. Agent {sender.agent.name} may have 1000 bytes in Storage, and "
        "600 of them are taken: delete files, or ask the fleet's operator for more."
    )
    left_nothing(deployment, asked)
    upload(deployment, sender, 400)
    refused(sender.upload(deployment.make_file("one-more.bin", 1)))
    assert len(deployment.objects(sender.agent)) == 2


def test_a_file_that_is_gone_makes_room(
    deployment: Deployment, sender: Sender, limit: Limit, spool: Path
) -> None:
    limit(max_bytes=1000)
    first = upload(deployment, sender, 900)
    refused(sender.upload(deployment.make_file("second.bin", 900)))
    deleted = transfer.delete.apply_async((first.document(),), headers=sender.headers)
    result_of(deleted)
    upload(deployment, sender, 900)


def test_plans_at_once_share_what_is_left(
    deployment: Deployment, sender: Sender, limit: Limit, spool: Path
) -> None:
    limit(max_bytes=350 * KB)
    sources = [deployment.make_file(f"{number}.bin", 100 * KB) for number in range(10)]
    asked = [sender.upload(source) for source in sources]

    def arrives(one: AsyncResult) -> bool:
        try:
            result_of(one)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(10) as threads:
        assert sum(threads.map(arrives, asked)) == 3
    assert len(deployment.objects(sender.agent)) == 3


def test_nothing_is_begun_of_a_file_in_parts(
    deployment: Deployment, sender: Sender, limit: Limit, spool: Path
) -> None:
    limit(max_bytes=PARTS - 1, bytes_per_second=LEAST_RATE)
    asked = sender.upload(deployment.make_file("parts.bin", PARTS))
    refused(asked)
    left_nothing(deployment, asked)
    assert deployment.unfinished_uploads(sender.agent) == []


def test_copies_and_what_was_made_of_files_count(
    deployment: Deployment, sender: Sender, limit: Limit, spool: Path
) -> None:
    limit(max_bytes=1000)
    file = upload(deployment, sender, 300)

    def copy() -> AsyncResult:
        return transfer.copy.apply_async((file.document(),), headers=sender.headers)

    result_of(copy())
    made = Derivative(
        transfer_id=UUID(str(file.id)),
        kind="thumbnail",
        parameters="{}",
        state=Making.MADE,
        size=101,
        object_name=f"{sender.agent.id}/{file.id}/derived/x",
    )
    deployment.transact(lambda session: session.add(made))
    assert "701 of them are taken" in refused(copy())
    limit(max_bytes=1001)
    result_of(copy())


def test_an_agents_own_limit_goes_before_the_fleets_and_none_is_no_limit(
    deployment: Deployment, sender: Sender, limit: Limit, spool: Path
) -> None:
    limit(max_bytes=0)
    refused(sender.upload(deployment.make_file("no.bin", 1)))
    upload(deployment, sender, 0)
    limit(max_bytes=None)
    upload(deployment, sender, 1000)


def test_a_redelivered_plan_does_not_count_itself(
    deployment: Deployment, sender: Sender, limit: Limit, spool: Path
) -> None:
    """The message comes twice; the file has all of the room."""
    limit(max_bytes=500 * KB, max_bytes_per_day=500 * KB)
    source = deployment.make_file("twice.bin", 500 * KB)
    task_id = str(uuid4())
    asked = [
        transfer.upload.apply_async((str(source),), task_id=task_id, headers=sender.headers)
        for _ in range(3)
    ]
    for one in asked:
        assert FileReference.parse(result_of(one)).size == 500 * KB
    assert deployment.transfer(task_id).state == State.COMPLETED


# Bytes in a day


def test_what_is_over_the_bytes_of_a_day(
    deployment: Deployment, sender: Sender, limit: Limit, spool: Path
) -> None:
    limit(max_bytes_per_day=1000)
    file = upload(deployment, sender, 600)
    began = deployment.transfer(str(file.id)).started_at
    assert began
    asked = sender.download(file.document(), spool / "back.bin")
    again = f"{began + timedelta(hours=24):%Y-%m-%d %H:%M:%S} UTC"
    assert refused(asked) == (
        f"{file.name} has 600 bytes. Agent {sender.agent.name} may move 1000 bytes in 24 hours, "
        f"and has moved 600: there is room again at {again}; or ask the fleet's operator for more."
    )
    until(lambda: deployment.transfer(asked.id).cleaned_at, what="the clean-up")
    assert not [one for one in spool.iterdir() if "back" in one.name or asked.id in one.name]
    upload(deployment, sender, 400)
    deployment.query(
        "UPDATE argosy.transfers SET started_at = started_at - interval '24 hours' "
        "WHERE id = :id RETURNING id",
        id=file.id,
    )
    assert result_of(sender.download(file.document(), spool / "back.bin"))


def test_more_than_a_day_ever_has(
    deployment: Deployment, sender: Sender, limit: Limit, spool: Path
) -> None:
    limit(max_bytes_per_day=1000)
    said = refused(sender.upload(deployment.make_file("large.bin", 1001)))
    assert "has moved 0: there is never room for so many; ask" in said


# Files that the agent stores itself


def ways(folder: Path, size: int) -> dict[str, Callable[[Client], FileReference]]:
    path = folder / "own.bin"
    path.write_bytes(bytes(size))
    compressed = UploadOptions(compress="zstd")
    return {
        "path": lambda client: client.upload_file(path),
        "bytes": lambda client: client.upload_file(path.read_bytes(), options=named),
        "stream": lambda client: client.upload_stream(io.BytesIO(path.read_bytes()), "own.bin"),
        "compressed": lambda client: client.upload_file(path, options=compressed),
    }


named = UploadOptions(name="own.bin")


@pytest.mark.parametrize("way", ["path", "bytes", "stream", "compressed"])
def test_a_file_that_is_refused_does_not_stay(
    deployment: Deployment,
    client: Client,
    agent: AgentInTest,
    limit: Limit,
    tmp_path: Path,
    way: str,
) -> None:
    limit(max_bytes=10)
    send = ways(tmp_path, 500 * KB)[way]
    with pytest.raises(QuotaExceeded, match=r"own.bin has [0-9]+ bytes. Agent .* and 0 of them"):
        send(client)
    assert deployment.objects(agent) == []
    assert deployment.unfinished_uploads(agent) == []
    assert not deployment.query("SELECT 1 FROM argosy.transfers WHERE agent_id = :id", id=agent.id)
    limit(max_bytes=None)
    assert send(client).size == 500 * KB
    assert len(deployment.objects(agent)) == 1


def test_a_file_that_was_stored_before_is_refused(
    deployment: Deployment,
    client: Client,
    agent: AgentInTest,
    limit: Limit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first call had stored it and told the fleet, and was not answered."""
    send = ways(tmp_path, 500 * KB)["path"]
    with monkeypatch.context() as patched:
        patched.setattr("argosy.direct.upload.register", _silent)
        with pytest.raises(TransferCancelled):
            send(client)
    assert len(deployment.objects(agent)) == 1
    limit(max_bytes_per_day=10)
    with pytest.raises(QuotaExceeded):
        send(client)
    assert deployment.objects(agent) == []
    assert not [one for one in (tmp_path / agent.name / "journal").rglob("*") if one.is_file()]


def _silent(*_: object) -> FileReference:
    raise TransferCancelled("Nobody answered.")


def test_an_entered_file_is_told_again(
    deployment: Deployment, agent: AgentInTest, limit: Limit
) -> None:
    """The second message of the same file counts nothing."""
    owner = OwnUploader(agent)
    stored = owner.put(bytes(1000))
    limit(max_bytes=1000, max_bytes_per_day=1000)
    assert owner.register(stored) == owner.register(stored)
    with pytest.raises(QuotaExceeded):
        owner.register(owner.put(b"x"))


# Looking


def test_usage(
    deployment: Deployment, client: Client, sender: Sender, limit: Limit, spool: Path
) -> None:
    told = client.usage()
    assert (told.stored, told.day, told.weight) == (0, 0, 1)
    assert (told.stored_limit, told.day_limit, told.at_once, told.rate) == (None,) * 4
    limit(max_bytes=5000, max_bytes_per_day=6000, max_transfers=3, bytes_per_second=300_000)
    file = upload(deployment, sender, 1000)
    result_of(sender.download(file.document(), spool / "back.bin"))
    assert client.usage().model_dump() == {
        "stored": 1000,
        "stored_limit": 5000,
        "day": 2000,
        "day_limit": 6000,
        "at_once": 3,
        "rate": 300_000,
        "weight": 1,
    }


def test_nobody_without_access_asks(deployment: Deployment) -> None:
    forged = {TOKEN_HEADER: "of nobody"}
    with pytest.raises(InvalidToken):
        result_of(transfer.usage.apply_async(headers=forged))
