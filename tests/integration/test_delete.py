"""What is derived of a file goes with it, and is shared with it."""

from __future__ import annotations

import os
from uuid import uuid4

import pytest
from sqlalchemy import text

from argosy.errors import AccessDenied, ObjectNotFound
from argosy.reference import FileReference
from models import Act
from tasks import transfer
from tasks.requests import DeleteRequest, parse
from tests.conftest import RESULT_SECONDS
from tests.deployment import AgentInTest, Deployment
from tests.integration.derivatives import (
    THUMBNAIL,
    Family,
    Requester,
    bytes_of,
    family_of,
)


@pytest.fixture
def owner(agent: AgentInTest) -> Requester:
    return Requester(agent)


@pytest.fixture
def other(deployment: Deployment) -> Requester:
    return Requester(deployment.add_agent())


@pytest.fixture
def family(deployment: Deployment, owner: Requester) -> Family:
    return family_of(deployment, owner, os.urandom(10_000) * 3)


def _left(deployment: Deployment, family: Family) -> tuple[int, int]:
    """Rows of derivatives, and of grants, of the file."""
    [row] = deployment.query(
        "SELECT (SELECT count(*) FROM argosy.derivatives WHERE transfer_id = :id) AS derivatives, "
        "(SELECT count(*) FROM argosy.grants WHERE starts_with(path, :folder)) AS grants",
        id=family.file.id,
        folder=family.file.path.rpartition("/")[0],
    )
    return row.derivatives, row.grants


def _sees(reader: Requester, family: Family) -> list[bool]:
    """Of the file and of each of what is derived of it."""

    def sees(path: str) -> bool:
        try:
            return bool(bytes_of(reader.agent, family.file.bucket, path))
        except ObjectNotFound:
            return False

    return [sees(path) for path in (family.file.path, family.thumbnail, family.compressed.path)]


def _deleted(deployment: Deployment, owner: Requester) -> list[tuple[str, int]]:
    rows = deployment.query(
        "SELECT object, detail FROM argosy.events WHERE agent_id = :id AND name = 'file.deleted'",
        id=owner.agent.id,
    )
    return [(row.object, row.detail["derivatives"]) for row in rows]


@pytest.mark.parametrize("which", ["file", "compressed"])
def test_all_of_it_goes(
    deployment: Deployment, owner: Requester, other: Requester, family: Family, which: str
) -> None:
    small = {"bucket": family.file.bucket, "path": family.thumbnail}
    for place in (family.file.document(), small):
        owner.do(transfer.share, place, [other.agent.name])
    assert deployment.objects(owner.agent) == family.paths
    owner.do(transfer.delete, getattr(family, which).document())
    assert deployment.objects(owner.agent) == []
    assert _left(deployment, family) == (0, 0)
    assert _deleted(deployment, owner) == [(f"{family.file.bucket}/{family.file.path}", 3)]
    with pytest.raises(ObjectNotFound):
        owner.do(transfer.delete, getattr(family, which).document())


def test_a_thumbnail_goes_alone(deployment: Deployment, owner: Requester, family: Family) -> None:
    small = family.file.model_copy(update={"path": family.thumbnail})
    owner.do(transfer.delete, small.document())
    assert deployment.objects(owner.agent) == sorted([family.file.path, family.compressed.path])
    assert _left(deployment, family) == (2, 0)


@pytest.mark.parametrize("which", ["file", "compressed"])
def test_a_half_done_delete_is_done_again(
    deployment: Deployment, owner: Requester, family: Family, which: str
) -> None:
    """Storage lets what is derived go, and then not the file: by either name it goes later."""
    forbid = (
        "CREATE POLICY forbid ON storage.objects AS RESTRICTIVE FOR DELETE "
        f"USING (name <> '{family.file.path}')"
    )
    deployment.transact(lambda session: session.execute(text(forbid)))
    try:
        with pytest.raises(AccessDenied):
            owner.do(transfer.delete, getattr(family, which).document())
    finally:
        deployment.transact(
            lambda session: session.execute(text("DROP POLICY forbid ON storage.objects"))
        )
    assert deployment.objects(owner.agent) == [family.file.path]
    owner.do(transfer.delete, getattr(family, which).document())
    assert deployment.objects(owner.agent) == []
    assert _left(deployment, family) == (0, 0)


def test_who_may_not_write_the_file(
    deployment: Deployment, owner: Requester, other: Requester, family: Family
) -> None:
    with pytest.raises(ObjectNotFound):
        other.do(transfer.delete, family.compressed.document())
    owner.do(transfer.share, family.file.document(), [other.agent.name])
    for file in (family.file, family.compressed):
        with pytest.raises(AccessDenied, match="no grant"):
            other.do(transfer.delete, file.document())
    folder = {"bucket": family.file.bucket, "path": f"{family.thumbnail.rpartition('/')[0]}/"}
    owner.do(transfer.share, folder, [other.agent.name], access="write")
    with pytest.raises(AccessDenied, match="no grant"):
        other.do(transfer.delete, family.compressed.document())
    assert deployment.objects(owner.agent) == family.paths


def test_a_grant_from_before(
    deployment: Deployment, owner: Requester, other: Requester, family: Family
) -> None:
    """It names the file alone; who may delete the file leaves nothing of it."""
    owner.do(transfer.share, family.file.document(), [other.agent.name], access="write")
    folder = {"bucket": family.file.bucket, "path": f"{family.thumbnail.rpartition('/')[0]}/"}
    owner.do(transfer.unshare, folder, [other.agent.name])
    assert _sees(other, family) == [True, False, False]
    other.do(transfer.delete, family.file.document())
    assert deployment.objects(owner.agent) == []
    assert _left(deployment, family) == (0, 0)


def test_a_message_that_comes_again_after_the_grant_was_revoked(
    deployment: Deployment, owner: Requester, other: Requester, family: Family
) -> None:
    """It was let in once, and deletes nothing now: the fleet least of all on its behalf."""
    document = family.file.document()
    asked = f"transfer.delete:{parse(DeleteRequest, reference=document).fingerprint()}"
    before = Act(id=uuid4(), agent_id=other.agent.id, request_sha256=asked)
    task_id = str(before.id)
    deployment.transact(lambda session: session.add(before))
    with pytest.raises(AccessDenied):
        other.send(transfer.delete, document, task_id=task_id).get(timeout=RESULT_SECONDS)
    assert deployment.objects(owner.agent) == family.paths
    assert _left(deployment, family) == (3, 0)


@pytest.mark.parametrize("which", ["file", "compressed"])
def test_sharing_reaches_what_is_derived(
    deployment: Deployment, owner: Requester, other: Requester, family: Family, which: str
) -> None:
    document = getattr(family, which).document()
    assert _sees(other, family) == [False, False, False]
    shared = owner.do(transfer.share, document, [other.agent.name], seconds=3600)
    assert FileReference.parse(shared).grants == (f"read:{other.agent.name}",)
    assert _sees(other, family) == [True, True, True]
    ends = deployment.query(
        "SELECT DISTINCT expires_at, transfer_id FROM argosy.grants WHERE agent_id = :id",
        id=other.agent.id,
    )
    assert [row.transfer_id for row in ends] == [family.file.id]
    taken = owner.do(transfer.unshare, document, [other.agent.name])
    assert FileReference.parse(taken).grants == ()
    assert _sees(other, family) == [False, False, False]


def test_a_thumbnail_is_shared_alone(owner: Requester, other: Requester, family: Family) -> None:
    """Whoever is given the small picture is not given the large one."""
    place = {"bucket": family.file.bucket, "path": family.thumbnail}
    owner.do(transfer.share, place, [other.agent.name])
    assert _sees(other, family) == [False, True, False]
    assert bytes_of(other.agent, family.file.bucket, family.thumbnail) == THUMBNAIL
    owner.do(transfer.unshare, place, [other.agent.name])
    assert _sees(other, family) == [False, False, False]


def test_a_message_keeps_the_file_of_what_it_names(
    deployment: Deployment, owner: Requester, family: Family
) -> None:
    message = str(family.file.id)
    owner.do(transfer.pin, message, [family.compressed.document()])
    rows = deployment.query("SELECT path FROM argosy.pins WHERE message_id = :id", id=message)
    assert [row.path for row in rows] == [family.file.path]


def test_only_an_argosy_path_has_a_derived_folder(
    deployment: Deployment, owner: Requester, other: Requester
) -> None:
    """A grant on any other object is one grant."""
    for path in (f"{owner.agent.id}/photos/", f"{owner.agent.id}/a/b/c/"):
        place = {"bucket": deployment.settings.bucket, "path": path}
        owner.do(transfer.share, place, [other.agent.name])
    query = "SELECT path FROM argosy.grants WHERE agent_id = :id ORDER BY path"
    rows = deployment.query(query, id=other.agent.id)
    expected = [f"{owner.agent.id}/a/b/c/", f"{owner.agent.id}/photos/"]
    assert [row.path for row in rows] == expected
