"""Copies inside Storage: of one version, verified, once, with all that was made of the file.

Copies are in parts above 5 MiB here, and the workers reach Storage through a gate.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery.result import AsyncResult

from argosy.derived import Stored
from argosy.errors import (
    AccessDenied,
    BucketNotFound,
    ChecksumMismatch,
    IdempotencyConflict,
    InvalidReference,
    InvalidRequest,
    ObjectChanged,
    ObjectNotFound,
    TransferCancelled,
)
from argosy.reference import FileReference
from argosy.storage.body import BytesBody
from argosy.storage.content import Content
from tasks import transfer
from tests.conftest import RESULT_SECONDS
from tests.deployment import Deployment, remote, until
from tests.integration.client.gate import Gate, Passing, answer, gate_to
from tests.integration.derivatives import (
    THUMBNAIL,
    Family,
    Requester,
    bytes_of,
    family_of,
    store_of,
)

MIB = 1024 * 1024
PART = 5 * MIB
SMALL = 10_000
LARGE = 2 * PART + 4321
"""Bytes of a file that is copied in three parts."""
KEPT = "persistent-data"
REFUSAL = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>3B001</Code>'
    "<Message>savepoint does not exist</Message></Error>"
)
"""What Storage answers to UploadPartCopy between two buckets."""

pytestmark = pytest.mark.skipif(remote(), reason="stands between the workers and Storage")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Servers without workers."""
    small = {"ARGOSY_COPY_THRESHOLD": str(PART), "ARGOSY_COPY_PART_SIZE": str(PART)}
    made = Deployment(tmp_path_factory.mktemp("copies"), small)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def _gate(servers: Deployment) -> Iterator[Gate]:
    with gate_to(servers.settings.supabase_url) as made:
        yield made


@pytest.fixture(scope="module")
def deployment(servers: Deployment, _gate: Gate) -> Deployment:
    """Instead of the deployment that all tests share."""
    for name in ("one", "two"):
        servers.start_worker(name, SUPABASE_URL=_gate.url)
    servers.start_beat()
    return servers


@pytest.fixture
def gate(_gate: Gate) -> Iterator[Gate]:
    """The gate, open again afterwards."""
    _gate.passed.clear()
    yield _gate
    _gate.fault = lambda _passing: None


@pytest.fixture
def owner(deployment: Deployment) -> Requester:
    return Requester(deployment.add_agent())


@pytest.fixture
def other(deployment: Deployment) -> Requester:
    return Requester(deployment.add_agent())


def _check(deployment: Deployment, owner: Requester, copied: FileReference, content: bytes) -> None:
    """The copy is the agent's own, whole, and in the books once."""
    assert copied.owner == owner.agent.id
    assert copied.path.startswith(f"{owner.agent.id}/{copied.id}/")
    assert copied.sha256 == hashlib.sha256(content).hexdigest()
    assert copied.size == len(content)
    assert b"".join(Content(store_of(owner.agent), copied).get()) == content
    row = deployment.transfer(str(copied.id))
    assert (row.kind, row.state, row.bytes_done) == ("copy", "completed", copied.stored_size)
    assert not deployment.unfinished_uploads(owner.agent)


def _is_part_copy(passing: Passing) -> bool:
    return passing.part is not None and passing.length == 0


class Held:
    """Requests of one kind wait at the gate until they are let go."""

    def __init__(self, gate: Gate, which: Callable[[Passing], bool]) -> None:
        self._which = which
        self._go = threading.Event()
        self._came = threading.Event()
        gate.fault = self._hold

    def wait(self) -> None:
        assert self._came.wait(RESULT_SECONDS), "no such request came"

    def let_go(self) -> None:
        self._go.set()

    def _hold(self, passing: Passing) -> None:
        if self._which(passing):
            self._came.set()
            assert self._go.wait(RESULT_SECONDS)


SIZES = {"empty": 0, "small": SMALL, "one part": PART, "three parts": LARGE}


@pytest.mark.parametrize("size", SIZES)
def test_a_copy(deployment: Deployment, gate: Gate, owner: Requester, size: str) -> None:
    content = os.urandom(SIZES[size])
    file = owner.store(content, "Bericht März.bin", metadata={"quarter": "1"})
    gate.passed.clear()
    copied = owner.copy(file)
    _check(deployment, owner, copied, content)
    assert (copied.bucket, copied.name) == (file.bucket, file.name)
    assert (copied.metadata, copied.expires_at is None) == ({"quarter": "1"}, False)
    assert gate.body_bytes == 0, "Storage copies by itself"
    assert len(deployment.chunks(str(copied.id))) == max(1, -(-len(content) // PART))
    said = store_of(owner.agent).head(copied.bucket, copied.path).metadata
    assert (said["sha256"], said["transfer"]) == (copied.sha256, str(copied.id))


def test_persist(deployment: Deployment, owner: Requester) -> None:
    content = os.urandom(LARGE)
    kept = owner.do(transfer.persist, owner.store(content).document(), name="kept.bin")
    reference = FileReference.parse(kept)
    _check(deployment, owner, reference, content)
    assert (reference.bucket, reference.name, reference.expires_at) == (KEPT, "kept.bin", None)
    assert (reference.chunk_size, reference.chunk_count) == (PART, 3)


def test_in_a_chain(deployment: Deployment, owner: Requester) -> None:
    source = deployment.make_file("cargo.bin", SMALL)
    chain = transfer.upload.s(str(source)) | transfer.persist.s() | transfer.copy.s(name="b.bin")
    done = chain.apply_async(headers=owner.headers).get(timeout=RESULT_SECONDS)
    _check(deployment, owner, FileReference.parse(done), source.read_bytes())
    assert done["bucket"] == KEPT
    deployment.clear_spool()


def test_a_file_that_is_stored_compressed(deployment: Deployment, owner: Requester) -> None:
    content = os.urandom(PART + 5) + bytes(3 * PART)
    file = owner.store_encoded(content)
    assert file.stored_size > PART
    copied = owner.copy(file, bucket=KEPT)
    _check(deployment, owner, copied, content)
    assert (copied.encoding, copied.stored) == (file.encoding, file.stored)
    assert copied.chunk_count == 2


def test_shared_from_the_start(deployment: Deployment, owner: Requester, other: Requester) -> None:
    content = os.urandom(SMALL)
    copied = owner.copy(owner.store(content), share_with=[other.agent.name])
    assert copied.grants == (f"read:{other.agent.name}",)
    mine = other.copy(copied)
    _check(deployment, other, mine, content)
    assert mine.grants == ()


# Derivatives


@pytest.fixture
def family(deployment: Deployment, owner: Requester) -> Family:
    return family_of(deployment, owner, bytes(SMALL))


def _rows(deployment: Deployment, reference: FileReference) -> list[Any]:
    return deployment.query(
        "SELECT kind, state, object_name, sha256, width, detail FROM argosy.derivatives "
        "WHERE transfer_id = :id ORDER BY kind",
        id=reference.id,
    )


@pytest.mark.parametrize("bucket", [None, KEPT])
def test_derivatives_follow(
    deployment: Deployment, owner: Requester, family: Family, bucket: str | None
) -> None:
    deployment.query(
        "INSERT INTO argosy.provenance (transfer_id, step, parameters, outcome, code, "
        "output_sha256) VALUES (:id, 'thumbnail', '{}', 'made', '{}', 'x') RETURNING id",
        id=family.file.id,
    )
    copied = owner.copy(family.file, bucket=bucket)
    _check(deployment, owner, copied, bytes(SMALL))
    folder = f"{owner.agent.id}/{copied.id}/derived/"
    compress, thumbnail = _rows(deployment, copied)
    assert thumbnail.object_name == f"{folder}thumbnail-128-q80.webp"
    assert compress.object_name == f"{folder}compress-3.zst"
    assert bytes_of(owner.agent, copied.bucket, thumbnail.object_name) == THUMBNAIL
    said = store_of(owner.agent).head(copied.bucket, thumbnail.object_name)
    assert (said.content_type, said.metadata["transfer"]) == ("image/webp", str(copied.id))
    told = {one.kind: (one.path, one.state, one.width) for one in copied.derivatives}
    assert told == {
        "thumbnail": (thumbnail.object_name, "made", 128),
        "compress": (compress.object_name, "made", None),
    }
    steps = deployment.query(
        "SELECT step FROM argosy.provenance WHERE transfer_id = :id ORDER BY id", id=copied.id
    )
    assert [row.step for row in steps] == ["thumbnail", "copy"]
    again = owner.copy(copied)
    assert len(again.derivatives) == 2


def test_a_copy_of_the_compressed_copy(
    deployment: Deployment, owner: Requester, family: Family
) -> None:
    """It is the file, stored compressed; the others that were derived come along."""
    copied = owner.copy(family.compressed)
    _check(deployment, owner, copied, bytes(SMALL))
    assert (copied.encoding, copied.stored) == ("zstd", family.compressed.stored)
    assert [one.kind for one in copied.derivatives] == ["thumbnail"]


def test_a_copy_of_a_thumbnail(deployment: Deployment, owner: Requester, family: Family) -> None:
    said = {
        "path": family.thumbnail,
        "name": "small.webp",
        "size": len(THUMBNAIL),
        "sha256": hashlib.sha256(THUMBNAIL).hexdigest(),
        "md5": None,
    }
    copied = owner.copy(family.file.model_copy(update=said))
    _check(deployment, owner, copied, THUMBNAIL)
    assert (copied.content_type, copied.derivatives) == ("image/webp", ())


def test_a_derivative_that_is_gone_is_left_out(
    deployment: Deployment, owner: Requester, family: Family
) -> None:
    store = store_of(owner.agent)
    store.delete(family.file.bucket, family.thumbnail)
    store.put(
        family.file.bucket,
        family.compressed.path,
        BytesBody(b"not what the books say"),
        content_type="text/plain",
        metadata={},
    )
    copied = owner.copy(family.file)
    _check(deployment, owner, copied, bytes(SMALL))
    assert copied.derivatives == ()
    assert _rows(deployment, copied) == []
    assert [path for path in deployment.objects(owner.agent) if str(copied.id) in path] == [
        copied.path
    ]


def test_a_copy_of_what_is_shared_brings_what_is_derived(
    deployment: Deployment, owner: Requester, other: Requester, family: Family
) -> None:
    owner.do(transfer.share, family.file.document(), [other.agent.name])
    mine = other.copy(family.file)
    _check(deployment, other, mine, bytes(SMALL))
    assert len(mine.derivatives) == 2
    folder = {"bucket": family.file.bucket, "path": f"{family.thumbnail.rpartition('/')[0]}/"}
    owner.do(transfer.unshare, folder, [other.agent.name])
    assert other.copy(family.file).derivatives == ()


def test_a_cancelled_copy_leaves_nothing(
    deployment: Deployment, gate: Gate, owner: Requester, family: Family
) -> None:
    """Not even of what is derived, which is copied last."""
    before = deployment.objects(owner.agent)
    held = Held(gate, lambda passing: passing.is_put and "/derived/thumbnail" in passing.target)
    sent = owner.send(transfer.copy, family.file.document())
    held.wait()
    owner.do(transfer.cancel, sent.id)
    held.let_go()
    with pytest.raises(TransferCancelled):
        sent.get(timeout=RESULT_SECONDS)
    until(lambda: deployment.transfer(sent.id).cleaned_at, what="the clean-up")
    until(lambda: deployment.objects(owner.agent) == before, what="nothing of the copy")


# Whose word counts, and who may


LIES = {
    "another SHA-256": {"sha256": "0" * 64},
    "another MD5": {"md5": "0" * 32},
    "another size": {"size": SMALL + 1},
    "compressed": {
        "encoding": "zstd",
        "stored": Stored(size=SMALL, sha256="0" * 64, md5=None),
    },
}


@pytest.mark.parametrize("lie", LIES)
def test_a_reference_that_says_otherwise(
    deployment: Deployment, owner: Requester, other: Requester, lie: str
) -> None:
    """Of a file that the fleet knows its books count, by whatever id the reference goes."""
    file = owner.store(os.urandom(SMALL))
    owner.do(transfer.share, file.document(), [other.agent.name])
    for said in ({}, {"id": uuid4()}):
        edited = file.model_copy(update=LIES[lie] | said)
        for sender in (owner, other):
            with pytest.raises(ChecksumMismatch, match="ask its owner"):
                sender.copy(edited)
    assert deployment.objects(owner.agent) == [file.path]
    assert deployment.objects(other.agent) == []


def test_an_object_without_a_row(deployment: Deployment, owner: Requester) -> None:
    """Its reference is taken at its word, as far as Storage does not say otherwise."""
    content = os.urandom(SMALL)
    known = owner.store(content)
    path = f"{owner.agent.id}/by-itself.bin"
    store = store_of(owner.agent)
    store.put(known.bucket, path, BytesBody(content), content_type="text/plain", metadata={})
    reference = known.model_copy(update={"path": path, "id": uuid4()})
    _check(deployment, owner, owner.copy(reference), content)
    for lie in (LIES["another MD5"], LIES["another size"]):
        with pytest.raises(ChecksumMismatch):
            owner.copy(reference.model_copy(update=lie))
    assert len(deployment.objects(owner.agent)) == 3, "two originals and one copy"


def test_who_may_not(deployment: Deployment, owner: Requester, other: Requester) -> None:
    file = owner.store(os.urandom(SMALL))
    reader = Requester(deployment.add_agent("reader"))
    owner.do(transfer.share, file.document(), ["role:reader"])
    with pytest.raises(ObjectNotFound):
        other.copy(file)
    with pytest.raises(ObjectNotFound):
        other.do(transfer.persist, file.document())
    with pytest.raises(AccessDenied, match="readers do not write"):
        reader.copy(file)
    with pytest.raises(BucketNotFound):
        owner.copy(file, bucket="nowhere")
    for path in ("", f"{owner.agent.id}//x", f"{owner.agent.id}/../x"):
        with pytest.raises(InvalidReference):
            owner.do(transfer.copy, {**file.document(), "path": path})
    with pytest.raises(ObjectNotFound):
        owner.copy(file.model_copy(update={"path": f"{owner.agent.id}/"}))
    kinds = deployment.query(
        "SELECT kind FROM argosy.transfers WHERE agent_id IN (:owner, :other, :reader)",
        owner=owner.agent.id,
        other=other.agent.id,
        reader=reader.agent.id,
    )
    assert [row.kind for row in kinds] == ["upload"]


def test_nothing_is_copied_onto_itself(deployment: Deployment, owner: Requester) -> None:
    """A task's id is its sender's choice, and what fails is removed."""
    known, identity = owner.store(os.urandom(SMALL)), str(uuid4())
    path = f"{owner.agent.id}/{identity}/cargo.bin"
    store_of(owner.agent).put(
        known.bucket, path, BytesBody(b"kept"), content_type="text/plain", metadata={}
    )
    reference = known.model_copy(update={"path": path})
    sent = owner.send(transfer.copy, reference.document(), task_id=identity)
    with pytest.raises(InvalidRequest, match="onto itself"):
        sent.get(timeout=RESULT_SECONDS)
    assert bytes_of(owner.agent, known.bucket, path) == b"kept"


def test_the_same_request_twice(deployment: Deployment, owner: Requester) -> None:
    content = os.urandom(SMALL)
    file = owner.store(content)
    first = owner.send(transfer.copy, file.document())
    told = first.get(timeout=RESULT_SECONDS)
    first.forget()
    owner.do(transfer.delete, file.document())
    again = owner.send(transfer.copy, file.document(), task_id=first.id)
    assert again.get(timeout=RESULT_SECONDS) == told
    copied = FileReference.parse(told)
    _check(deployment, owner, copied, content)
    by_key = [owner.copy(copied, idempotency_key="nightly") for _ in range(2)]
    assert by_key[0] == by_key[1]
    with pytest.raises(IdempotencyConflict):
        owner.copy(copied, name="other.bin", idempotency_key="nightly")
    assert deployment.objects(owner.agent) == sorted([copied.path, by_key[0].path])


# What happens meanwhile


def _replace(owner: Requester, file: FileReference) -> None:
    body = BytesBody(os.urandom(file.size))
    store_of(owner.agent).put(file.bucket, file.path, body, content_type="text/plain", metadata={})


def _failed_and_clean(deployment: Deployment, owner: Requester, sent: AsyncResult) -> None:
    until(lambda: deployment.transfer(sent.id).cleaned_at, what="the clean-up")
    assert not [path for path in deployment.objects(owner.agent) if sent.id in path]
    assert not deployment.unfinished_uploads(owner.agent)


def test_a_file_that_was_replaced_since(deployment: Deployment, owner: Requester) -> None:
    file = owner.store(os.urandom(SMALL))
    _replace(owner, file)
    sent = owner.send(transfer.copy, file.document())
    with pytest.raises(ObjectChanged, match="was replaced after"):
        sent.get(timeout=RESULT_SECONDS)
    _failed_and_clean(deployment, owner, sent)


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("md5", [True, False], ids=["its MD5 is known", "its MD5 is not known"])
def test_a_file_that_is_replaced_meanwhile(
    deployment: Deployment, gate: Gate, owner: Requester, size: int, md5: bool
) -> None:
    file = owner.store(os.urandom(size), **({} if md5 else {"md5": None}))
    held = Held(gate, lambda passing: passing.is_put and passing.part in (None, 2))
    sent = owner.send(transfer.copy, file.document())
    held.wait()
    _replace(owner, file)
    held.let_go()
    with pytest.raises(ObjectChanged, match="was replaced while"):
        sent.get(timeout=RESULT_SECONDS)
    _failed_and_clean(deployment, owner, sent)


def test_a_file_that_is_deleted_meanwhile(
    deployment: Deployment, gate: Gate, owner: Requester
) -> None:
    file = owner.store(os.urandom(LARGE))
    held = Held(gate, lambda passing: passing.part == 3)
    sent = owner.send(transfer.copy, file.document())
    held.wait()
    owner.do(transfer.delete, file.document())
    held.let_go()
    with pytest.raises(ObjectNotFound):
        sent.get(timeout=RESULT_SECONDS)
    _failed_and_clean(deployment, owner, sent)


@pytest.mark.parametrize(("size", "dies_at"), [(SMALL, 1), (LARGE, 2)])
def test_the_worker_dies_in_the_middle(
    deployment: Deployment, gate: Gate, owner: Requester, size: int, dies_at: int
) -> None:
    content = os.urandom(size)
    file = owner.store(content)
    held = Held(gate, lambda passing: passing.is_put and passing.part in (None, dies_at))
    sent = owner.send(transfer.copy, file.document(), bucket=KEPT)
    held.wait()
    query = "SELECT worker FROM argosy.chunks WHERE transfer_id = :id AND number = :number"
    [row] = deployment.query(query, id=sent.id, number=dies_at)
    os.kill(int(row.worker.rpartition("/")[2]), signal.SIGKILL)
    held.let_go()
    copied = FileReference.parse(sent.get(timeout=RESULT_SECONDS))
    _check(deployment, owner, copied, content)
    attempts = [chunk.attempts for chunk in deployment.chunks(sent.id)]
    assert attempts == ([2] if size == SMALL else [1, 2, 1])
    completed = deployment.query(
        "SELECT id FROM argosy.events WHERE transfer_id = :id AND name = 'transfer.completed'",
        id=sent.id,
    )
    assert len(completed) == 1


# Storage that cannot copy parts from one bucket to another


@pytest.fixture
def no_part_copies(gate: Gate) -> Gate:
    refusal = answer(500, REFUSAL, Content_Type="application/xml")
    gate.fault = lambda passing: refusal if _is_part_copy(passing) else None
    return gate


def test_parts_that_storage_cannot_copy_are_streamed(
    deployment: Deployment, no_part_copies: Gate, owner: Requester
) -> None:
    content = os.urandom(LARGE)
    copied = owner.copy(owner.store(content), bucket=KEPT)
    _check(deployment, owner, copied, content)
    assert no_part_copies.body_bytes == LARGE
    assert no_part_copies.stored_parts == {1: 1, 2: 1, 3: 1}


def test_a_file_that_is_replaced_while_it_is_streamed(
    deployment: Deployment, no_part_copies: Gate, owner: Requester
) -> None:
    file = owner.store(os.urandom(LARGE))
    refuse = no_part_copies.fault
    held = Held(
        no_part_copies, lambda passing: passing.method == "GET" and file.name in passing.target
    )
    hold = no_part_copies.fault
    no_part_copies.fault = lambda passing: refuse(passing) or hold(passing)
    sent = owner.send(transfer.copy, file.document(), bucket=KEPT)
    held.wait()
    _replace(owner, file)
    held.let_go()
    with pytest.raises(ObjectChanged):
        sent.get(timeout=RESULT_SECONDS)
    _failed_and_clean(deployment, owner, sent)
