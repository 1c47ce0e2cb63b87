"""Sharing: who is given a file reads it, and nobody else; the grant dies with the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery.result import AsyncResult
from sqlalchemy import text

from argosy.errors import (
    AccessDenied,
    BucketNotFound,
    Error,
    InvalidReference,
    InvalidRequest,
    NotSignedIn,
    ObjectNotFound,
)
from argosy.reference import FileReference
from argosy.storage.body import BytesBody
from argosy.storage.control import BucketInfo, ControlPlane
from tasks import transfer
from tasks.fleet import Fleet
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, until


class Sharer(Sender):
    """Also shares and deletes."""

    def send(self, task: Any, *args: Any, **kwargs: Any) -> AsyncResult:
        """Any request."""
        return task.apply_async(args, kwargs, headers=self.headers)

    def do(self, task: Any, *args: Any, **kwargs: Any) -> Any:
        """Any request, and its result."""
        return self.send(task, *args, **kwargs).get(timeout=RESULT_SECONDS)


@pytest.fixture
def owner(agent: AgentInTest) -> Sharer:
    return Sharer(agent)


@pytest.fixture
def other(deployment: Deployment) -> Sharer:
    return Sharer(deployment.add_agent())


@pytest.fixture
def reader(deployment: Deployment) -> Sharer:
    return Sharer(deployment.add_agent("reader"))


@pytest.fixture
def file(deployment: Deployment, spool: Path) -> Path:
    return deployment.make_file(f"{uuid4().hex}.bin", 10_000)


def _reads(sender: Sharer, reference: Any, spool: Path) -> bool:
    destination = spool / uuid4().hex
    try:
        sender.download(reference, destination).get(timeout=RESULT_SECONDS)
    except ObjectNotFound:
        return False
    assert destination.stat().st_size == FileReference.parse(reference).size
    return True


def test_an_upload_is_shared_from_the_start(
    owner: Sharer, other: Sharer, reader: Sharer, file: Path, spool: Path
) -> None:
    names = [other.agent.name, "role:reader"]
    reference = owner.upload(file, share_with=names).get(timeout=RESULT_SECONDS)
    told = FileReference.parse(reference).grants
    assert set(told) == {f"read:{other.agent.name}", "read:role:reader"}
    assert _reads(other, reference, spool)
    assert _reads(reader, reference, spool)


def test_nobody_else_reads_it(
    deployment: Deployment, owner: Sharer, other: Sharer, reader: Sharer, file: Path, spool: Path
) -> None:
    reference = owner.upload(file, share_with=[other.agent.name]).get(timeout=RESULT_SECONDS)
    assert not _reads(reader, reference, spool)
    assert not _reads(Sharer(deployment.add_agent()), reference, spool)


def test_share_and_unshare(owner: Sharer, other: Sharer, file: Path, spool: Path) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    assert not _reads(other, reference, spool)
    shared = owner.do(transfer.share, reference, [other.agent.name])
    assert FileReference.parse(shared).grants == (f"read:{other.agent.name}",)
    assert _reads(other, shared, spool)
    taken = owner.do(transfer.unshare, shared, [other.agent.name])
    assert FileReference.parse(taken).grants == ()
    assert not _reads(other, shared, spool)


def test_it_composes(owner: Sharer, other: Sharer, file: Path, spool: Path) -> None:
    chain = transfer.upload.s(str(file)) | transfer.share.s([other.agent.name])
    shared = chain.apply_async(headers=owner.headers).get(timeout=RESULT_SECONDS)
    assert _reads(other, shared, spool)


def test_a_folder(owner: Sharer, other: Sharer, file: Path, spool: Path) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    folder = {"bucket": reference["bucket"], "path": f"{owner.agent.id}/"}
    told = owner.do(transfer.share, folder, [other.agent.name])
    assert told == {**folder, "grants": [f"read:{other.agent.name}"]}
    assert _reads(other, reference, spool)
    owner.do(transfer.unshare, folder, [other.agent.name])
    assert not _reads(other, reference, spool)


def test_a_grant_that_ends(
    deployment: Deployment, owner: Sharer, other: Sharer, file: Path, spool: Path
) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    owner.do(transfer.share, reference, [other.agent.name], seconds=0.001)
    assert not _reads(other, reference, spool)
    owner.do(transfer.share, reference, [other.agent.name], seconds=10**8)
    [grant] = deployment.query(
        "SELECT g.expires_at, t.expires_at AS file_ends FROM argosy.grants g "
        "JOIN argosy.transfers t ON t.id = g.transfer_id WHERE g.path = :path",
        path=reference["path"],
    )
    assert grant.expires_at == grant.file_ends
    assert _reads(other, reference, spool)


def test_the_grant_dies_with_the_file(
    deployment: Deployment, owner: Sharer, other: Sharer, file: Path, spool: Path
) -> None:
    reference = owner.upload(file, share_with=[other.agent.name]).get(timeout=RESULT_SECONDS)
    owner.do(transfer.delete, reference)
    left = "SELECT count(*) AS n FROM argosy.grants WHERE path = :path"
    assert deployment.query(left, path=reference["path"])[0].n == 0
    assert deployment.objects(owner.agent) == []
    assert not _reads(owner, reference, spool)


def test_the_grant_of_an_upload_that_fails(
    deployment: Deployment, owner: Sharer, other: Sharer, spool: Path
) -> None:
    failing = owner.upload(spool / "missing.bin", share_with=[other.agent.name])
    with pytest.raises(Error):
        failing.get(timeout=RESULT_SECONDS)
    left = "SELECT count(*) AS n FROM argosy.grants WHERE transfer_id = :id"
    until(lambda: deployment.query(left, id=failing.id)[0].n == 0, what="the grant is gone")


WRONG_NAMES = {
    "nobody": (["nobody-of-this-name"], InvalidRequest),
    "no role": (["role:king"], InvalidRequest),
    "no list": ("role:reader", InvalidRequest),
    "empty": ([], InvalidRequest),
    "SQL": (["x'; DROP TABLE argosy.grants; --"], InvalidRequest),
    "too many": (["role:reader"] * 101, InvalidRequest),
}


@pytest.mark.parametrize("case", WRONG_NAMES)
def test_names_that_mean_nobody(owner: Sharer, file: Path, case: str) -> None:
    names, kind = WRONG_NAMES[case]
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    with pytest.raises(kind):
        owner.do(transfer.share, reference, names)


def test_only_the_owner_or_an_admin_shares(
    deployment: Deployment, owner: Sharer, other: Sharer, reader: Sharer, file: Path, spool: Path
) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    with pytest.raises(ObjectNotFound):
        other.do(transfer.share, reference, [other.agent.name])
    owner.do(transfer.share, reference, [other.agent.name], access="write")
    with pytest.raises(AccessDenied):
        other.do(transfer.share, reference, [reader.agent.name])
    edited = {**reference, "owner": str(other.agent.id)}
    with pytest.raises(AccessDenied):
        other.do(transfer.share, edited, [reader.agent.name])
    folder = {"bucket": reference["bucket"], "path": f"{owner.agent.id}/"}
    with pytest.raises(AccessDenied):
        other.do(transfer.share, folder, [reader.agent.name])
    admin = Sharer(deployment.add_agent("admin"))
    shared = admin.do(transfer.share, reference, [reader.agent.name])
    assert _reads(reader, shared, spool)


PLACES = ["", "../", "{id}/../", "{id}//x", "/{id}/", "{id}/./x", "{id}\x00/"]


@pytest.mark.parametrize("path", PLACES)
def test_places_that_are_not_ones_own(owner: Sharer, other: Sharer, path: str) -> None:
    place = {"bucket": "agent-transfers", "path": path.format(id=owner.agent.id)}
    with pytest.raises((AccessDenied, InvalidRequest, InvalidReference)):
        owner.do(transfer.share, place, [other.agent.name])


def test_deleting_what_is_shared(
    deployment: Deployment, owner: Sharer, other: Sharer, file: Path, spool: Path
) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    with pytest.raises(ObjectNotFound):
        other.do(transfer.delete, reference)
    owner.do(transfer.share, reference, [other.agent.name])
    with pytest.raises(AccessDenied, match="no grant"):
        other.do(transfer.delete, reference)
    assert _reads(owner, reference, spool)
    owner.do(transfer.share, reference, [other.agent.name], access="write")
    other.do(transfer.delete, reference)
    with pytest.raises(ObjectNotFound):
        owner.do(transfer.delete, reference)


def test_the_same_request_twice_and_another_under_its_id(
    deployment: Deployment, owner: Sharer, other: Sharer, file: Path
) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    first = owner.send(transfer.share, reference, [other.agent.name])
    told = first.get(timeout=RESULT_SECONDS)
    again = transfer.share.apply_async(
        (reference, [other.agent.name]), headers=owner.headers, task_id=first.id
    )
    owner.do(transfer.unshare, reference, ["role:reader"])
    assert again.get(timeout=RESULT_SECONDS) == told
    transfer.delete.apply_async((reference,), headers=other.headers, task_id=first.id)
    until(lambda: _conflicts(deployment, first.id) == 1, what="the refusal of another's id")
    assert first.get(timeout=RESULT_SECONDS) == told
    assert deployment.objects(owner.agent) == [reference["path"]]
    transfer.upload.apply_async((str(file),), headers=owner.headers, task_id=first.id)
    until(lambda: _conflicts(deployment, first.id) == 2, what="the refusal of one's own id")
    assert first.get(timeout=RESULT_SECONDS) == told


def _conflicts(deployment: Deployment, task_id: str) -> int:
    refused = "SELECT FROM argosy.events WHERE request_id = :id AND reason = 'idempotency_conflict'"
    return len(deployment.query(refused, id=task_id))


def test_nobody_shares_without_a_token(
    deployment: Deployment, owner: Sharer, other: Sharer, file: Path
) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    for task, args in (
        (transfer.share, (reference, [other.agent.name])),
        (transfer.unshare, (reference, [other.agent.name])),
        (transfer.delete, (reference,)),
    ):
        with pytest.raises(NotSignedIn):
            deployment.app.send_task(
                task.name, args, exchange="argosy.requests", routing_key="argosy.requests"
            ).get(timeout=RESULT_SECONDS)


def test_it_is_all_in_the_audit(
    deployment: Deployment, owner: Sharer, other: Sharer, file: Path
) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    shared = owner.send(transfer.share, reference, [other.agent.name])
    shared.get(timeout=RESULT_SECONDS)
    owner.do(transfer.unshare, reference, [other.agent.name])
    refused = other.send(transfer.delete, reference)
    with pytest.raises(ObjectNotFound):
        refused.get(timeout=RESULT_SECONDS)
    owner.do(transfer.delete, reference)
    audit = deployment.query(
        "SELECT name, outcome, reason, object, request_id FROM argosy.events "
        "WHERE agent_id IN (:owner, :other) ORDER BY id",
        owner=owner.agent.id,
        other=other.agent.id,
    )
    names = [row.name for row in audit if row.name.startswith(("grant.", "file.", "request."))]
    assert names == ["grant.made", "grant.revoked", "request.refused", "file.deleted"]
    made = next(row for row in audit if row.name == "grant.made")
    assert made.object == f"{reference['bucket']}/{reference['path']}"
    assert made.request_id == shared.id
    no = next(row for row in audit if row.name == "request.refused")
    assert (no.outcome, no.reason, no.request_id) == ("refused", "object_not_found", refused.id)


def test_a_message_that_comes_again_gives_nothing_back(
    deployment: Deployment, owner: Sharer, other: Sharer, file: Path, spool: Path
) -> None:
    """A broker may deliver twice, also much later: what was revoked since stays revoked."""
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    shared = owner.send(transfer.share, reference, [other.agent.name])
    shared.get(timeout=RESULT_SECONDS)
    owner.do(transfer.unshare, reference, [other.agent.name])
    shared.forget()
    again = transfer.share.apply_async(
        (reference, [other.agent.name]), headers=owner.headers, task_id=shared.id
    )
    assert FileReference.parse(again.get(timeout=RESULT_SECONDS)).grants == ()
    assert not _reads(other, reference, spool)


def test_a_delete_that_storage_refuses_is_answered(
    deployment: Deployment, owner: Sharer, file: Path
) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    forbid = (
        "CREATE POLICY forbid ON storage.objects AS RESTRICTIVE FOR DELETE "
        "USING (name <> '" + reference["path"] + "')"
    )
    deployment.transact(lambda session: session.execute(text(forbid)))
    try:
        with pytest.raises(AccessDenied):
            owner.do(transfer.delete, reference)
    finally:
        deployment.transact(
            lambda session: session.execute(text("DROP POLICY forbid ON storage.objects"))
        )
    assert deployment.objects(owner.agent) == [reference["path"]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"path": "{id}//x"}, "segment"),
        ({"path": "{id}/../x"}, "segment"),
        ({"bucket": "not a bucket!"}, "give a bucket's name"),
        ({"sha256": "x"}, "sha256"),
    ],
)
def test_a_reference_that_names_no_place(
    owner: Sharer, other: Sharer, file: Path, changes: dict[str, str], said: str
) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    wrong = {name: value.format(id=owner.agent.id) for name, value in changes.items()}
    with pytest.raises(InvalidReference, match=said):
        owner.do(transfer.share, {**reference, **wrong}, [other.agent.name])


def test_an_upload_that_would_be_refused_touches_nothing(
    deployment: Deployment, reader: Sharer, file: Path
) -> None:
    """Nor does its clean-up: the name of the object is the sender's choice."""
    task_id = str(uuid4())
    path = f"{reader.agent.id}/{task_id}/{file.name}"
    bucket = deployment.settings.bucket
    store = Fleet(deployment.settings).store_as_service()
    store.put(bucket, path, BytesBody(b"kept"), content_type="text/plain", metadata={})
    result = transfer.upload.apply_async((str(file),), headers=reader.headers, task_id=task_id)
    with pytest.raises(AccessDenied, match="readers do not write"):
        result.get(timeout=RESULT_SECONDS)
    assert store.head(bucket, path).size == 4
    assert not deployment.query("SELECT id FROM argosy.transfers WHERE id = :id", id=task_id)


def test_an_upload_to_a_bucket_that_is_not_the_fleets(
    deployment: Deployment, owner: Sharer, file: Path
) -> None:
    """It is not told apart from one that is not there."""
    foreign = f"foreign-{uuid4().hex[:8]}"
    ControlPlane(
        deployment.settings.supabase_url,
        deployment.settings.supabase_service_role_key.get_secret_value(),
    ).ensure_bucket(BucketInfo(foreign))
    for bucket in (foreign, "nowhere"):
        with pytest.raises(BucketNotFound, match=f"no bucket {bucket} in this fleet"):
            owner.upload(file, bucket=bucket).get(timeout=RESULT_SECONDS)
    with pytest.raises(BucketNotFound):
        owner.do(transfer.share, {"bucket": foreign, "path": f"{owner.agent.id}/"}, ["role:reader"])


def test_grants_that_have_ended_are_not_told(
    owner: Sharer, other: Sharer, reader: Sharer, file: Path
) -> None:
    reference = owner.upload(file).get(timeout=RESULT_SECONDS)
    owner.do(transfer.share, reference, [other.agent.name], seconds=0.001)
    told = owner.do(transfer.share, reference, [reader.agent.name])
    assert FileReference.parse(told).grants == (f"read:{reader.agent.name}",)
