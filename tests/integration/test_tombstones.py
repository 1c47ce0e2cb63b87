"""What is said of a file that is gone, to whom, and what is not said to a stranger."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from celery.result import AsyncResult

from argosy.errors import Error, ObjectNotFound
from argosy.info import Status
from argosy.reference import FileReference
from tasks import transfer
from tests.conftest import RESULT_SECONDS
from tests.deployment import AgentInTest, Deployment
from tests.integration.derivatives import Requester, family_of
from tests.integration.expiring import events, let_expire, state_of, sweep


@pytest.fixture
def owner(agent: AgentInTest) -> Requester:
    return Requester(agent)


@pytest.fixture
def reader(deployment: Deployment) -> Requester:
    return Requester(deployment.add_agent("reader"))


@pytest.fixture
def stranger(deployment: Deployment) -> Requester:
    return Requester(deployment.add_agent())


@pytest.fixture(params=["swept", "deleted"])
def gone(
    request: pytest.FixtureRequest, deployment: Deployment, owner: Requester, reader: Requester
) -> tuple[FileReference, str]:
    """A file that is gone, which the reader could read, and what is to be said of it."""
    file = owner.store(os.urandom(100))
    owner.do(transfer.share, file.document(), [reader.agent.name])
    if request.param == "deleted":
        owner.do(transfer.delete, file.document())
        return file, f"{file.name} was deleted by {owner.agent.name} at 20"
    let_expire(deployment, file.id)
    sweep(deployment)
    return file, f"{file.name} was removed at 20"


Ask = Callable[[Requester, FileReference, Deployment], Any]
ASKED: dict[str, Ask] = {
    "download": lambda asks, file, deployment: asks.do(
        transfer.download, file.document(), str(deployment.spool / f"{uuid4()}.bin")
    ),
    "copy": lambda asks, file, _: asks.do(transfer.copy, file.document()),
    "pin": lambda asks, file, _: asks.do(transfer.pin, str(uuid4()), [file.document()]),
    "extend": lambda asks, file, _: asks.do(transfer.extend, file.document()),
    "inspect": lambda asks, file, _: asks.do(transfer.inspect, file.document()),
    "share": lambda asks, file, _: asks.do(transfer.share, file.document(), ["role:reader"]),
    "delete": lambda asks, file, _: asks.do(transfer.delete, file.document()),
}


def _refusal(asked: Callable[[], Any]) -> str:
    with pytest.raises(Error) as caught:
        asked()
    assert isinstance(caught.value, ObjectNotFound), caught.value
    return caught.value.message


def test_what_is_said(
    deployment: Deployment,
    owner: Requester,
    reader: Requester,
    stranger: Requester,
    gone: tuple[FileReference, str],
) -> None:
    """To the owner whatever it asks, to who could read it, and nothing to anybody else."""
    file, said = gone
    for name, ask in ASKED.items():
        assert _refusal(lambda ask=ask: ask(owner, file, deployment)).startswith(said), name
        unsaid = _refusal(lambda ask=ask: ask(stranger, file, deployment))
        assert "removed" not in unsaid, name
        assert "deleted" not in unsaid, name
    for name in ("download", "pin", "inspect"):
        assert _refusal(lambda name=name: ASKED[name](reader, file, deployment)).startswith(said)


def test_its_status(
    deployment: Deployment, owner: Requester, gone: tuple[FileReference, str]
) -> None:
    document = owner.do(transfer.status, str(gone[0].id))
    told = Status.parse(document)
    assert (told.state, told.parts.stored) == ("expired", 1)
    assert told.tombstone
    assert (told.tombstone.objects, told.tombstone.bytes) == (1, 100)
    assert "readers" not in document["tombstone"]
    assert told.id in {Status.parse(one).id for one in owner.do(transfer.history)}


def test_a_deleted_file_with_what_was_made_of_it(
    deployment: Deployment, owner: Requester, reader: Requester
) -> None:
    family = family_of(deployment, owner, os.urandom(30_000))
    owner.do(transfer.share, family.file.document(), [reader.agent.name])
    before = deployment.transfer(str(family.file.id))
    owner.do(transfer.delete, family.file.document())
    row = deployment.transfer(str(family.file.id))
    assert (row.state, row.ended_at) == ("expired", before.ended_at)
    assert row.tombstone
    assert (row.tombstone["why"], row.tombstone["objects"]) == ("deleted", 3)
    assert row.tombstone["readers"] == [str(reader.agent.id)]
    [event] = events(deployment, family.file.id, "transfer.expired")
    assert (event.detail["why"], event.detail["by"]) == ("deleted", owner.agent.name)


def test_a_thumbnail_that_goes_alone_leaves_its_file(
    deployment: Deployment, owner: Requester
) -> None:
    family = family_of(deployment, owner, os.urandom(30_000))
    small = family.file.model_copy(update={"path": family.thumbnail})
    owner.do(transfer.delete, small.document())
    assert state_of(deployment, family.file.id) == "completed"


def test_an_upload_that_comes_again(deployment: Deployment, owner: Requester) -> None:
    """The same key is the same transfer, whose file is gone: no reference leads nowhere."""
    source = deployment.make_file(f"{uuid4()}.bin", 1000)
    try:
        asked = {"idempotency_key": "once"}
        file = FileReference.parse(owner.upload(source, **asked).get(timeout=RESULT_SECONDS))
        owner.do(transfer.delete, file.document())
        said = _refusal(lambda: owner.upload(source, **asked).get(timeout=RESULT_SECONDS))
        assert f"{file.name} was deleted" in said
        assert "idempotency key" in said
    finally:
        source.unlink()


def test_a_registration_that_comes_again(deployment: Deployment, owner: Requester) -> None:
    file = owner.store(b"registered")
    etag = deployment.transfer(str(file.id)).etag
    owner.do(transfer.delete, file.document())
    AsyncResult(str(file.id)).forget()
    again = owner.send(transfer.register, file.document(), etag, task_id=str(file.id))
    assert "was deleted" in _refusal(lambda: again.get(timeout=RESULT_SECONDS))
