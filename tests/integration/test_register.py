"""A file that its agent has stored itself enters the books, whatever the agent claims of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery.result import AsyncResult

from argosy import errors
from argosy.auth import TOKEN_HEADER
from argosy.coding.encoder import encoded
from argosy.description import own_metadata
from argosy.naming import object_name
from argosy.reference import FileReference
from argosy.storage.body import BytesBody
from models import Kind, State
from tasks import transfer
from tests.conftest import RESULT_SECONDS
from tests.deployment import AgentInTest, Deployment, until
from tests.integration.own_uploads import CARGO, OwnUploader, Stored

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def owner(shared_agent: AgentInTest) -> OwnUploader:
    return OwnUploader(shared_agent)


@pytest.fixture(scope="module")
def other(deployment: Deployment) -> OwnUploader:
    return OwnUploader(deployment.add_agent())


def _events(deployment: Deployment, task_id: str) -> list[Any]:
    return deployment.query(
        "SELECT * FROM argosy.events WHERE request_id = :id ORDER BY id", id=task_id
    )


def _refusals(deployment: Deployment, task_id: str) -> list[str]:
    named = "request.refused"
    return [row.reason for row in _events(deployment, task_id) if row.name == named]


def _rows(deployment: Deployment, *task_ids: str) -> list[Any]:
    query = "SELECT * FROM argosy.transfers WHERE id = ANY (:ids)"
    return deployment.query(query, ids=[UUID(task_id) for task_id in task_ids])


def _code_of(result: AsyncResult) -> str:
    with pytest.raises(errors.Error) as caught:
        result.get(timeout=RESULT_SECONDS)
    return caught.value.code


# Entered


def test_a_file_in_one_body(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put(metadata={"purpose": "März", "a-b": ""})
    known = owner.register(stored)
    lasts = timedelta(days=deployment.settings.retention_days)
    assert known.expires_at is not None
    assert abs(known.expires_at - datetime.now(UTC) - lasts) < timedelta(minutes=5)
    same = known.document()
    ours = {"created_at", "expires_at"}
    assert {name: same[name] for name in same.keys() - ours} == {
        name: stored.reference[name] for name in same.keys() - ours
    }
    row = deployment.transfer(stored.id)
    assert (row.kind, row.state, row.path) == (Kind.UPLOAD, State.COMPLETED, "")
    assert (row.size, row.bytes_done, row.chunks_left) == (len(CARGO), len(CARGO), 0)
    assert (row.etag, row.agent_id) == (stored.etag, owner.agent.id)
    assert row.reference == same


def test_its_object_says_what_the_fleet_knows(owner: OwnUploader) -> None:
    stored = owner.put(metadata={"purpose": "März"})
    known = owner.register(stored)
    said = owner.store.head(known.bucket, known.path).metadata
    assert own_metadata(said) == {"purpose": "März"}
    assert known.expires_at is not None
    assert said["expires-at"] == known.expires_at.isoformat()
    assert (said["sha256"], said["name"]) == (known.sha256, known.name)
    assert said["mine"] == "1"


def test_a_file_in_parts(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put_parts([b"a" * 5 * MIB, b"b" * 1000])
    known = owner.register(stored)
    assert (known.chunk_size, known.chunk_count) == (5 * MIB, 2)
    row = deployment.transfer(stored.id)
    assert (row.part_size, row.part_count, row.etag) == (5 * MIB, 2, stored.etag)


def test_an_empty_file_that_is_kept(owner: OwnUploader) -> None:
    known = owner.register(owner.put(b"", bucket="persistent-data"))
    assert (known.size, known.expires_at, known.encoding) == (0, None, None)


@pytest.mark.parametrize("in_parts", [False, True], ids=["one body", "parts"])
def test_a_file_that_is_compressed(
    deployment: Deployment, owner: OwnUploader, *, in_parts: bool
) -> None:
    """What is compared with Storage is the object; what the file comes to is its owner's word."""
    content = os.urandom(6 * MIB) if in_parts else CARGO * 1000
    raw = b"".join(encoded([content], "gzip", 1))
    stored = owner.put_parts([raw[: 5 * MIB], raw[5 * MIB :]]) if in_parts else owner.put(raw)
    plain = owner.describe(content)
    sums = {name: stored.reference[name] for name in ("size", "sha256", "md5")}
    is_file = {name: plain[name] for name in sums}
    claimed = stored.but(**is_file, encoding="gzip", stored=sums)
    known = owner.register(Stored(claimed, stored.etag))
    assert known.stored
    assert (known.size, known.sha256, known.md5) == tuple(is_file.values())
    assert (known.encoding, known.stored.model_dump()) == ("gzip", sums)
    row = deployment.transfer(stored.id)
    assert (row.encoding, row.stored_size, row.size) == ("gzip", len(raw), len(content))
    said = owner.store.head(known.bucket, known.path).metadata
    assert {said[name] for name in ("encoding", "size")} == {"gzip", str(len(content))}
    assert (said["stored-sha256"], said["sha256"]) == (sums["sha256"], plain["sha256"])
    assert known == owner.register(Stored(claimed, stored.etag))


def test_it_is_a_transfer_like_any_other(deployment: Deployment, owner: OwnUploader) -> None:
    known = owner.register(owner.put())
    told = owner.do(transfer.status, str(known.id))
    assert (told["state"], told["path"], told["bytes_done"]) == (
        "completed",
        known.path,
        len(CARGO),
    )
    assert told["reference"] == known.document()
    with pytest.raises(errors.InvalidState):
        owner.do(transfer.cancel, str(known.id))
    destination = deployment.spool / uuid4().hex
    owner.download(known, destination).get(timeout=RESULT_SECONDS)
    assert destination.read_bytes() == CARGO
    destination.unlink()
    owner.do(transfer.delete, known.document())
    with pytest.raises(errors.ObjectNotFound):
        owner.reads(known.bucket, known.path)


def test_the_audit_begins_at_its_end(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put()
    owner.register(stored)
    [event] = _events(deployment, stored.id)
    assert (event.name, event.from_state, event.to_state) == (
        "transfer.registered",
        None,
        State.COMPLETED,
    )
    assert (event.agent_id, event.outcome) == (owner.agent.id, "ok")
    assert event.object == f"{stored.reference['bucket']}/{stored.reference['path']}"


def test_beat_leaves_it_alone(deployment: Deployment, owner: OwnUploader) -> None:
    """With a caller whose result seems not to be recorded it only tells the outcome again."""
    stored = owner.put()
    owner.register(stored)
    row = until(lambda: _settled(deployment, stored.id), what="the settling")
    deployment.query(
        "UPDATE argosy.continuations SET settled_at = NULL, republish_at = now() "
        "WHERE task_id = :id RETURNING task_id",
        id=stored.id,
    )
    deployment.query(
        "UPDATE argosy.transfers SET ended_at = now() - interval '1 hour' "
        "WHERE id = :id RETURNING id",
        id=stored.id,
    )
    again = until(lambda: _settled(deployment, stored.id), what="the second settling")
    assert again > row
    assert [event.name for event in _events(deployment, stored.id)] == ["transfer.registered"]
    assert owner.reads(stored.reference["bucket"], stored.reference["path"]) == CARGO


def _settled(deployment: Deployment, task_id: str) -> Any:
    query = "SELECT settled_at FROM argosy.continuations WHERE task_id = :id"
    return deployment.query(query, id=task_id)[0].settled_at


# Shared


def test_whom_it_is_shared_with(
    deployment: Deployment, owner: OwnUploader, other: OwnUploader
) -> None:
    stored = owner.put()
    place = stored.reference["bucket"], stored.reference["path"]
    with pytest.raises(errors.ObjectNotFound):
        other.reads(*place)
    known = owner.register(stored, share_with=[other.agent.name])
    assert known.grants == (f"read:{other.agent.name}",)
    assert other.reads(*place) == CARGO
    [grant] = deployment.query("SELECT * FROM argosy.grants WHERE path = :path", path=place[1])
    assert (grant.expires_at, str(grant.transfer_id)) == (known.expires_at, stored.id)


def test_what_was_shared_before_ends_with_the_file_too(
    deployment: Deployment, owner: OwnUploader, other: OwnUploader
) -> None:
    stored = owner.put()
    place = {"bucket": stored.reference["bucket"], "path": stored.reference["path"]}
    owner.do(transfer.share, place, [other.agent.name])
    known = owner.register(stored)
    assert known.grants == (f"read:{other.agent.name}",)
    [grant] = deployment.query("SELECT * FROM argosy.grants WHERE path = :path", path=known.path)
    assert (grant.expires_at, grant.transfer_id) == (known.expires_at, known.id)


def test_shared_with_nobody_of_that_name(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put()
    asked = owner.ask_to_register(stored.reference, stored.etag, share_with=["nobody-at-all"])
    assert _code_of(asked) == "invalid_request"
    assert _rows(deployment, stored.id) == []


# Twice


def test_twice_is_once(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put()
    first = owner.register(stored)
    later = stored.but(created_at=datetime.now(UTC).isoformat(), grants=["read:me"])
    again = FileReference.parse(
        owner.ask_to_register(later, stored.etag).get(timeout=RESULT_SECONDS)
    )
    assert again == first
    assert len(_rows(deployment, stored.id)) == 1


def test_twice_at_once(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put()
    asked = [owner.ask_to_register(stored.reference, stored.etag) for _ in range(6)]
    answers = {FileReference.parse(one.get(timeout=RESULT_SECONDS)).expires_at for one in asked}
    owner.register(owner.put())
    assert len(answers) == 1
    names = [event.name for event in _events(deployment, stored.id)]
    assert names == ["transfer.registered"]


def test_a_second_time_gives_nothing_back_that_was_revoked(
    owner: OwnUploader, other: OwnUploader
) -> None:
    stored = owner.put()
    known = owner.register(stored, share_with=[other.agent.name])
    owner.do(transfer.unshare, known.document(), [other.agent.name])
    owner.register(stored, share_with=[other.agent.name])
    with pytest.raises(errors.ObjectNotFound):
        other.reads(known.bucket, known.path)


def test_the_same_id_for_something_else(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put()
    known = owner.register(stored)
    owner.ask_to_register(stored.but(content_type="text/plain"), stored.etag)
    until(lambda: _refusals(deployment, stored.id), what="the refusal")
    assert _refusals(deployment, stored.id) == ["idempotency_conflict"]
    assert deployment.transfer(stored.id).reference == known.document()


def test_the_id_of_somebody_elses_transfer(
    deployment: Deployment, owner: OwnUploader, other: OwnUploader
) -> None:
    theirs = other.put()
    known = other.register(theirs)
    mine = owner.describe(CARGO, name="cargo.bin")
    path = object_name(owner.agent.id, known.id, "cargo.bin")
    owner.store.put(
        mine["bucket"], path, BytesBody(CARGO), content_type=mine["content_type"], metadata={}
    )
    before = deployment.transfer(theirs.id)
    owner.ask_to_register({**mine, "id": theirs.id, "path": path}, theirs.etag)
    until(lambda: _refusals(deployment, theirs.id), what="the refusal")
    assert _refusals(deployment, theirs.id) == ["idempotency_conflict"]
    after = deployment.transfer(theirs.id)
    assert (after.agent_id, after.reference) == (before.agent_id, before.reference)
    assert other.register(theirs) == known


def test_the_id_of_another_request(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put()
    place = {"bucket": "agent-transfers", "path": f"{owner.agent.id}/"}
    transfer.unshare.apply_async(
        (place, ["role:reader"]), task_id=stored.id, headers=owner.headers
    ).get(timeout=RESULT_SECONDS)
    owner.ask_to_register(stored.reference, stored.etag)
    until(lambda: _refusals(deployment, stored.id), what="the refusal")
    assert _refusals(deployment, stored.id) == ["idempotency_conflict"]
    assert _rows(deployment, stored.id) == []


# What an agent may claim

Change = Callable[[OwnUploader, OwnUploader, Stored], dict[str, Any]]


def _a_foreign_folder(owner: OwnUploader, other: OwnUploader, stored: Stored) -> dict[str, Any]:
    path = object_name(other.agent.id, stored.reference["id"], stored.reference["name"])
    return stored.but(path=path)


def _a_foreign_owner(owner: OwnUploader, other: OwnUploader, stored: Stored) -> dict[str, Any]:
    path = object_name(other.agent.id, stored.reference["id"], stored.reference["name"])
    return stored.but(path=path, owner=str(other.agent.id))


def _dots(owner: OwnUploader, other: OwnUploader, stored: Stored) -> dict[str, Any]:
    return stored.but(path=f"{owner.agent.id}/../{other.agent.id}/{stored.id}/x")


def _field(**changes: Any) -> Change:
    return lambda _owner, _other, stored: stored.but(**changes)


def _compressed(**changes: Any) -> Change:
    """What lies there is said to be something compressed."""

    def claim(_owner: OwnUploader, _other: OwnUploader, stored: Stored) -> dict[str, Any]:
        sums = {name: stored.reference[name] for name in ("size", "sha256", "md5")}
        return stored.but(size=10**6, encoding="zstd", stored={**sums, **changes})

    return claim


CLAIMS: dict[str, tuple[Change, str]] = {
    "a foreign folder": (_a_foreign_folder, "invalid_reference"),
    "a foreign owner": (_a_foreign_owner, "access_denied"),
    "dots": (_dots, "invalid_reference"),
    "another name": (_field(name="other.bin"), "invalid_reference"),
    "a name with a slash": (_field(name="a/b"), "invalid_reference"),
    "another bucket": (_field(bucket="persistent-data"), "object_not_found"),
    "no bucket": (_field(bucket="no-such-bucket"), "bucket_not_found"),
    "a bucket of a strange name": (_field(bucket="a/b"), "invalid_reference"),
    "a wrong size": (_field(size=1), "checksum_mismatch"),
    "a wrong MD5": (_field(md5="0" * 32), "checksum_mismatch"),
    "a wrong size of the object": (_compressed(size=1), "checksum_mismatch"),
    "a wrong MD5 of the object": (_compressed(md5="0" * 32), "checksum_mismatch"),
    "an encoding that is none": (_field(encoding="identity"), "invalid_reference"),
    "an encoding of nothing": (_field(encoding="zstd"), "invalid_reference"),
    "no checksum": (_field(sha256=None), "invalid_reference"),
    "a content type of two lines": (_field(content_type="a/b\r\nx: y"), "invalid_reference"),
    "metadata with a bad name": (_field(metadata={"Bad_Name": "x"}), "invalid_reference"),
    "metadata with no name": (_field(metadata={"": "x"}), "invalid_reference"),
    "huge metadata": (_field(metadata={"a": "x" * 4000, "b": "y" * 4000}), "invalid_request"),
    "metadata of a NUL": (_field(metadata={"a": "\0"}), "invalid_reference"),
    "metadata that is none": (_field(metadata=["a"]), "invalid_reference"),
    "an unknown version": (_field(schema="argosy.file/v9"), "invalid_reference"),
    "a field too many": (_field(unheard_of=1), "invalid_reference"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_claims_that_are_refused(
    deployment: Deployment, owner: OwnUploader, other: OwnUploader, claim: str
) -> None:
    stored = owner.put()
    if (
        claim.startswith("a wrong MD5") and "-" in stored.etag
    ):  # as a file backend set to `mtime` has
        pytest.skip("an ETag of this Storage says nothing of the bytes")
    change, code = CLAIMS[claim]
    claimed = change(owner, other, stored)
    asked = owner.ask_to_register(claimed, stored.etag, task_id=stored.id)
    assert _code_of(asked) == code
    assert _refusals(deployment, stored.id) == [code]
    assert _rows(deployment, stored.id) == []


def test_a_reference_whose_end_is_far_away(owner: OwnUploader) -> None:
    stored = owner.put()
    claimed = stored.but(expires_at="9999-01-01T00:00:00Z", grants=["write:role:reader"])
    asked = owner.ask_to_register(claimed, stored.etag)
    known = FileReference.parse(asked.get(timeout=RESULT_SECONDS))
    assert known.expires_at is not None
    assert known.expires_at < datetime.now(UTC) + timedelta(days=8)
    assert known.grants == ()


@pytest.mark.parametrize(
    ("etag", "code"),
    [("0" * 32, "checksum_mismatch"), ("", "invalid_request"), ("ä\n", "invalid_request")],
)
def test_a_wrong_etag(deployment: Deployment, owner: OwnUploader, etag: str, code: str) -> None:
    asked = owner.ask_to_register(owner.put().reference, etag)
    assert _code_of(asked) == code
    assert _rows(deployment, asked.id) == []


def test_an_object_that_was_replaced_since(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put()
    place = stored.reference["bucket"], stored.reference["path"]
    owner.store.put(*place, BytesBody(CARGO[::-1]), content_type="a/b", metadata={})
    assert _code_of(owner.ask_to_register(stored.reference, stored.etag)) == "checksum_mismatch"


def test_an_object_that_is_not_there(deployment: Deployment, owner: OwnUploader) -> None:
    named = owner.describe(CARGO)
    asked = owner.ask_to_register(named, named["md5"])
    assert _code_of(asked) == "object_not_found"
    assert _rows(deployment, asked.id) == []


def test_an_id_that_is_not_the_tasks(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put()
    asked = owner.ask_to_register(stored.reference, stored.etag, task_id=str(uuid4()))
    assert _code_of(asked) == "invalid_request"
    assert _rows(deployment, asked.id, stored.id) == []


# Who asks


def test_nobody_asks(deployment: Deployment, owner: OwnUploader) -> None:
    stored = owner.put()
    asked = transfer.register.apply_async(
        (stored.reference, stored.etag), task_id=stored.id, headers={TOKEN_HEADER: ""}
    )
    assert _code_of(asked) == "not_signed_in"


def test_somebody_else_asks(deployment: Deployment, owner: OwnUploader, other: OwnUploader) -> None:
    stored = owner.put()
    assert _code_of(other.ask_to_register(stored.reference, stored.etag)) == "access_denied"
    assert _rows(deployment, stored.id) == []
    owner.ask_to_register(stored.reference, stored.etag)
    [row] = until(lambda: _rows(deployment, stored.id), what="the owner's own request")
    assert row.agent_id == owner.agent.id


def test_a_disabled_agent_asks(deployment: Deployment, agent: AgentInTest) -> None:
    owner = OwnUploader(agent)
    stored = owner.put()
    deployment.query(
        "UPDATE argosy.agents SET disabled_at = now() WHERE id = :id RETURNING id", id=agent.id
    )
    asked = owner.ask_to_register(stored.reference, stored.etag)
    assert _code_of(asked) == "access_denied"
    assert _rows(deployment, asked.id) == []


# What an agent says of a file that the fleet uploads


@pytest.mark.parametrize("size", [1000, 101_000_000])
def test_metadata_of_an_upload(deployment: Deployment, owner: OwnUploader, size: int) -> None:
    source = deployment.make_file(f"{uuid4().hex}.bin", size)
    said = {"purpose": "ein Zweck für 😀", "nothing": ""}
    asked = owner.upload(source, metadata=said)
    known = FileReference.parse(asked.get(timeout=RESULT_SECONDS))
    source.unlink()
    assert known.metadata == said
    head = owner.store.head(known.bucket, known.path)
    assert own_metadata(head.metadata) == said
    assert head.metadata["sha256"] == known.sha256
    assert deployment.transfer(asked.id).user_metadata == said


WRONG_METADATA: dict[str, Any] = {
    "a bad name": {"Bad_Name": "x"},
    "no name": {"": "x"},
    "a long name": {"a" * 101: "x"},
    "a number": {"a": 1},
    "a list": ["a"],
    "empty text": "",
    "huge": {"a": "x" * 8192},
    "huge when encoded": {"a": "ü" * 1400},
    "a NUL": {"a": "\0"},
}


@pytest.mark.parametrize("case", WRONG_METADATA)
def test_wrong_metadata_of_an_upload(deployment: Deployment, owner: OwnUploader, case: str) -> None:
    asked = owner.upload(deployment.spool / "cargo.bin", metadata=WRONG_METADATA[case])
    assert _code_of(asked) == "invalid_request"
    assert _rows(deployment, asked.id) == []


def test_other_metadata_is_another_request(deployment: Deployment, owner: OwnUploader) -> None:
    source = deployment.make_file(f"{uuid4().hex}.bin", 10)
    key = {"idempotency_key": uuid4().hex}
    owner.upload(source, metadata={"a": "1"}, **key).get(timeout=RESULT_SECONDS)
    other = owner.upload(source, metadata={"a": "2"}, **key)
    assert _code_of(other) == "idempotency_conflict"
    source.unlink()
