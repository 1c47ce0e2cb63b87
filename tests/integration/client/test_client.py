"""The client's face: what a person does with it, both ways of moving bytes."""

from __future__ import annotations

import hashlib
import inspect
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

import argosy
from argosy import AsyncClient, Client, FileReference, ListOptions, Subscriber, UploadOptions
from argosy.errors import (
    AccessDenied,
    BucketNotFound,
    DeadlineExceeded,
    FleetUnavailable,
    InvalidReference,
    InvalidRequest,
    InvalidState,
    ObjectNotFound,
    SourceMissing,
    SourceOutsideSpool,
    TransferCancelled,
    TransferNotFound,
)
from tests.deployment import AgentInTest, Deployment, until
from worker.agents import limit_agent

MakeClient = Callable[..., Client]


class Heard(Subscriber):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def on_queued(self, transfer_id: str, name: str, bytes_total: int | None) -> None:
        self.calls.append(("queued", name, bytes_total))

    def on_progress(
        self, bytes_done: int, bytes_total: int | None, rate: float, eta: float | None
    ) -> None:
        self.calls.append(("progress", bytes_done, bytes_total))

    def on_done(self, result: object) -> None:
        self.calls.append(("done", result))

    def on_error(self, error: argosy.Error) -> None:
        self.calls.append(("error", error.code))


def test_every_export_is_there() -> None:
    assert {name for name in argosy.__all__ if not hasattr(argosy, name)} == set()


def test_both_clients_have_the_same_methods() -> None:
    def public(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(kind, callable)
            if not name.startswith("_") and name != "agent_id"
        }

    assert public(Client) == public(AsyncClient)


def test_round_trip(client: Client, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    source = tmp_path / "Bericht März ø.bin"
    source.write_bytes(content)
    reference = client.upload_file(source, {"quarter": "1/2026"})
    assert reference.name == source.name
    assert reference.sha256 == hashlib.sha256(content).hexdigest()
    assert reference.metadata == {"quarter": "1/2026"}
    assert reference.expires_at
    assert client.download_file(reference, tmp_path / "copy").read_bytes() == content
    assert b"".join(client.iter_bytes(reference)) == content
    with client.open_file(reference) as file:
        file.seek(100)
        assert file.read(50) == content[100:150]


def test_it_is_in_the_books(client: Client, deployment: Deployment) -> None:
    reference = client.upload_file(b"ledger", options=UploadOptions(name="a.txt"))
    row = deployment.transfer(str(reference.id))
    assert (row.state, row.kind, row.sha256) == ("completed", "upload", reference.sha256)
    status = client.status(reference)
    assert (status.state, status.name, status.agent) == ("completed", "a.txt", row_name(client))
    assert [found.id for found in client.history(5)] == [reference.id]


def row_name(client: Client) -> str:
    return client.history(1)[0].agent or ""


def test_a_file_by_its_place(client: Client) -> None:
    reference = client.upload_file(b"by place", {"k": "v"})
    place = f"{reference.bucket}/{reference.path}"
    assert b"".join(client.iter_bytes(place)) == b"by place"
    info = client.get_file_metadata(place)
    assert info.reference().sha256 == reference.sha256
    assert info.metadata == {"k": "v"}
    assert info.owner == client.agent_id


def test_list_and_delete(client: Client) -> None:
    references = [client.upload_file(bytes([n]) * (n + 1)) for n in range(5)]
    listed = list(client.list_files(options=ListOptions(page_size=2)))
    assert [info.path for info in listed] == sorted(r.path for r in references)
    assert {info.size for info in listed} == {1, 2, 3, 4, 5}
    assert len(list(client.list_files(options=ListOptions(limit=3, page_size=2)))) == 3
    own = f"{client.agent_id}/{references[0].id}/"
    assert [info.path for info in client.list_files(prefix=own)] == [references[0].path]
    client.delete_file(references[0])
    with pytest.raises(ObjectNotFound):
        client.delete_file(references[0])
    assert references[0].path not in [info.path for info in client.list_files()]


def test_metadata_is_kept_for_a_while(client: Client, make_client: MakeClient) -> None:
    reference = client.upload_file(b"kept")
    info = client.get_file_metadata(reference)
    assert client.get_file_metadata(reference) is info
    client.delete_file(reference)
    with pytest.raises(ObjectNotFound):
        client.get_file_metadata(reference)


def look_on(client: Client, reference: FileReference, change: Callable[..., object]) -> None:
    """Change a file, and look at it all the while."""
    with ThreadPoolExecutor(1) as thread:
        job = thread.submit(change, reference)
        while not job.done():
            with suppress(ObjectNotFound):
                client.get_file_metadata(reference)
        job.result()


def test_who_looks_meanwhile_is_told_the_truth_afterwards(client: Client) -> None:
    reference = client.upload_file(b"looked at")
    client.get_file_metadata(reference)
    look_on(client, reference, client.delete_file)
    with pytest.raises(ObjectNotFound):
        client.get_file_metadata(reference)


def test_nobody_reads_what_is_not_shared(client: Client, other: Client, tmp_path: Path) -> None:
    reference = client.upload_file(b"mine")
    with pytest.raises(ObjectNotFound):
        other.download_file(reference, tmp_path / "stolen")
    with pytest.raises((ObjectNotFound, AccessDenied)):
        other.delete_file(reference)
    with pytest.raises((ObjectNotFound, AccessDenied)):
        other.share(reference, ["role:worker"])
    assert list(tmp_path.glob("stolen*")) == []
    name = row_name_of(other)
    shared = client.share(reference, [name])
    assert shared.grants == (f"read:{name}",)
    assert b"".join(other.iter_bytes(reference)) == b"mine"
    assert client.unshare(reference, [name]).grants == ()
    with pytest.raises(ObjectNotFound):
        b"".join(other.iter_bytes(reference))


def row_name_of(client: Client) -> str:
    client.upload_file(b"so that it has a history")
    return row_name(client)


def test_shared_from_the_beginning(client: Client, other: Client) -> None:
    name = row_name_of(other)
    reference = client.upload_file(b"ours", options=UploadOptions(share_with=(name,)))
    assert reference.grants == (f"read:{name}",)
    assert b"".join(other.iter_bytes(reference)) == b"ours"


def test_persist_copies_inside_storage(client: Client, deployment: Deployment) -> None:
    content = os.urandom(100_000)
    reference = client.upload_file(content, {"a": "b"}, options=UploadOptions(name="x  y.bin"))
    kept = client.persist(reference)
    assert (kept.bucket, kept.expires_at) == ("persistent-data", None)
    assert (kept.sha256, kept.metadata, kept.name) == (reference.sha256, {"a": "b"}, "x  y.bin")
    client.delete_file(reference)
    assert b"".join(client.iter_bytes(kept)) == content
    assert deployment.transfer(str(kept.id)).state == "completed"


def test_a_copy_has_a_priority_as_an_upload_has(client: Client, deployment: Deployment) -> None:
    reference = client.upload_file(b"much of it")
    copied = client.copy(reference, options=UploadOptions(priority="bulk", idempotency_key="c"))
    assert deployment.transfer(str(copied.id)).priority == "bulk"


def test_nobody_copies_what_is_not_shared(client: Client, other: Client) -> None:
    reference = client.upload_file(b"mine")
    with pytest.raises(ObjectNotFound):
        other.persist(reference)


def test_signed_url(client: Client, other: Client) -> None:
    reference = client.upload_file(b"for a browser")
    assert httpx.get(client.signed_url(reference, seconds=60)).content == b"for a browser"
    with pytest.raises(ObjectNotFound):
        other.signed_url(reference)


# Background mode


def test_the_fleet_uploads(client: Client, deployment: Deployment, spool: Path) -> None:
    source = deployment.make_file("later.bin", 150_000_000)
    heard = Heard()
    transfer = client.upload_later(source, {"made": "later"})
    reference = client.wait(transfer, subscribers=[heard])
    assert isinstance(reference, FileReference)
    assert reference.metadata == {"made": "later"}
    assert reference.size == 150_000_000
    told = [call[1] for call in heard.calls if call[0] == "progress"]
    assert told == sorted(told)
    assert told[-1] == reference.size
    assert heard.calls[-1] == ("done", reference)


def test_the_fleet_uploads_many(client: Client, deployment: Deployment, spool: Path) -> None:
    good = [deployment.make_file(f"one of many {number}.bin", 1000 + number) for number in range(3)]
    paths = [*good, spool / "missing", "/etc/hostname"]
    batch = client.upload_many_later(paths, {"made": "together"})
    *stored, missing, outside = client.wait_many(batch)
    for path, reference in zip(good, stored, strict=True):
        assert isinstance(reference, FileReference)
        assert (reference.name, reference.metadata) == (path.name, {"made": "together"})
        assert b"".join(client.iter_bytes(reference)) == path.read_bytes()
    assert isinstance(missing, SourceMissing)
    assert isinstance(outside, SourceOutsideSpool)
    assert client.status(batch).kind == "batch"
    client.delete_file(stored[0])
    with pytest.raises(ObjectNotFound):
        client.get_file_metadata(stored[0])


@pytest.mark.parametrize(
    "options",
    [{"name": "x"}, {"content_type": "a/b"}, {"compress": "zstd"}, {"process": "auto"}],
    ids=lambda options: next(iter(options)),
)
def test_what_is_for_one_file_is_not_for_many(
    client: Client, spool: Path, options: dict[str, Any]
) -> None:
    [wrong] = options
    with pytest.raises(InvalidRequest, match=f"{wrong} is for one file: use upload_later"):
        client.upload_many_later([spool / "one"], options=UploadOptions(**options))


def test_the_fleets_refusal(client: Client, tmp_path: Path) -> None:
    heard = Heard()
    transfer = client.upload_later(tmp_path / "outside")
    with pytest.raises(SourceOutsideSpool):
        client.wait(transfer, subscribers=[heard])
    assert heard.calls[-1] == ("error", "source_outside_spool")


def test_cancel_pause_and_resume(
    client: Client, deployment: Deployment, agent: AgentInTest, spool: Path
) -> None:
    limit_agent(deployment.settings, agent.name, bytes_per_second=30_000_000)
    source = deployment.make_file("big.bin", 300_000_000)  # on its way for 10 s
    transfer = client.upload_later(source)
    until(lambda: _is_there(client, transfer))
    assert client.pause(transfer).state == "paused"
    assert any("paused" in why for why in client.status(transfer).waits)
    client.resume(transfer)
    reference = client.wait(transfer)
    assert isinstance(reference, FileReference)
    with pytest.raises(InvalidState):
        client.cancel(transfer)
    second = client.upload_later(source)
    until(lambda: _is_there(client, second))
    client.cancel(second)
    with pytest.raises(TransferCancelled):
        client.wait(second)


def _is_there(client: Client, transfer: UUID) -> bool:
    try:
        return client.status(transfer).state == "moving"
    except TransferNotFound:
        return False


def test_a_request_that_no_worker_has_taken(client: Client, make_client: MakeClient) -> None:
    transfer = client.upload_later("/spool/report.bin")
    assert client.status(transfer).kind == "upload"  # whether a worker has it by now or not
    with pytest.raises(SourceOutsideSpool):
        client.wait(transfer)


def test_no_such_transfer(client: Client, other: Client) -> None:
    with pytest.raises(TransferNotFound):
        client.status(uuid4())
    mine = client.upload_file(b"x")
    with pytest.raises(TransferNotFound):
        other.status(mine)
    with pytest.raises(InvalidReference):
        client.status("rubbish")


# What goes wrong


def test_a_call_has_an_end(client: Client) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        client.wait(uuid4(), deadline_seconds=0.3)
    assert time.monotonic() - began < 10


def test_the_broker_is_away(make_client: MakeClient, agent: AgentInTest) -> None:
    client = make_client(agent, broker_url="amqp://127.0.0.1:1")
    with pytest.raises(FleetUnavailable, match="BROKER_URL"):
        client.upload_later("/spool/x")


def test_the_result_store_is_away(make_client: MakeClient, agent: AgentInTest) -> None:
    changes = {"result_url": "redis://127.0.0.1:1/0", "storage_deadline_seconds": 0.5}
    client = make_client(agent, **changes)
    with pytest.raises(FleetUnavailable, match="RESULT_URL"):
        client.wait(uuid4())
    with pytest.raises(FleetUnavailable, match="RESULT_URL"):
        client.upload_file(b"stored, but not entered")


def test_a_bucket_that_is_not_there(client: Client) -> None:
    with pytest.raises((BucketNotFound, AccessDenied)):
        client.upload_file(b"x", options=UploadOptions(bucket="nowhere"))


@pytest.mark.parametrize("place", ["", "bucket", "bucket/", "/path"])
def test_no_place(client: Client, place: str) -> None:
    with pytest.raises(InvalidReference):
        client.get_file_metadata(place)


def test_options_out_of_range() -> None:
    with pytest.raises(InvalidRequest):
        UploadOptions(part_size=1)
    with pytest.raises(InvalidRequest):
        UploadOptions(parallel=0)
    with pytest.raises(InvalidRequest):
        UploadOptions(deadline_seconds=0)
    with pytest.raises(InvalidRequest):
        ListOptions(page_size=5000)
    with pytest.raises(InvalidRequest):
        ListOptions(limit=-1)


def test_metadata_with_a_bad_name(client: Client) -> None:
    with pytest.raises(InvalidRequest, match="Bad_Name"):
        client.upload_file(b"x", {"Bad_Name": "v"})


def test_a_subscriber_that_raises(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Subscriber):
        def on_progress(self, *_: object) -> None:
            raise RuntimeError("mine")

    heard = Heard()
    reference = client.upload_file(b"x" * 10, options=UploadOptions(subscribers=(Broken(), heard)))
    assert [call[0] for call in heard.calls] == ["queued", "progress", "done"]
    assert heard.calls[1] == ("progress", 10, 10)
    assert "subscriber.failed" in caplog.text
    assert reference.size == 10


def test_a_forked_child_has_its_own_connections(client: Client) -> None:
    reference = client.upload_file(b"before the fork")
    child = os.fork()
    if child == 0:
        try:
            same = b"".join(client.iter_bytes(reference)) == b"before the fork"
            client.upload_file(b"in the child")
            os._exit(0 if same else 1)
        finally:
            os._exit(2)
    assert b"".join(client.iter_bytes(reference)) == b"before the fork"
    assert client.status(reference).state == "completed"
    _, outcome = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(outcome) == 0
