"""`transfer.retry`: what failed is done over again, and whoever waited gets the new outcome."""

from __future__ import annotations

import filecmp
import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import chain
from celery.result import AsyncResult

from argosy import Client
from argosy.errors import (
    AccessDenied,
    DestinationUnwritable,
    IdempotencyConflict,
    InvalidRequest,
    InvalidState,
    NotSignedIn,
    SourceMissing,
    TransferCancelled,
    TransferNotFound,
)
from argosy.reference import FileReference
from tasks import transfer
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import ARGOSY, AgentInTest, Deployment, until
from worker.agents import limit_agent


class Captain(Sender):
    """Sends retries, too."""

    def retry(self, transfer_id: str, **options: Any) -> AsyncResult:
        return transfer.retry.apply_async((transfer_id,), headers=self.headers, **options)

    def failed_upload(self, path: Path, **options: Any) -> AsyncResult:
        """An upload of a file that is not there yet."""
        result = self.upload(path, **options)
        with pytest.raises(SourceMissing):
            result.get(timeout=RESULT_SECONDS)
        return AsyncResult(result.id)  # else the failure would be remembered here


@pytest.fixture
def captain(agent: AgentInTest) -> Captain:
    return Captain(agent)


def _reference(result: AsyncResult) -> FileReference:
    return FileReference.parse(result.get(timeout=RESULT_SECONDS))


def _succeeds_at_last(transfer_id: str) -> FileReference:
    """The outcome under an id under which a failure stood."""
    until(lambda: AsyncResult(transfer_id).state == "SUCCESS", what="the new outcome")
    return _reference(AsyncResult(transfer_id))


def test_an_upload_is_done_over_again_for_all_who_waited(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    reader = deployment.add_agent()
    path = spool / "late.bin"
    failed = captain.failed_upload(
        path,
        name="Später.bin",
        metadata={"kind": "late"},
        share_with=[reader.name, "role:reader"],
        idempotency_key=f"key-{uuid4()}",
    )
    until(lambda: deployment.transfer(failed.id).cleaned_at, what="the cleaning up")
    deployment.make_file("late.bin", 120 * MB)
    anew = captain.retry(failed.id)
    reference = _reference(anew)
    assert reference.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (str(reference.id), reference.name) == (anew.id, "Später.bin")
    assert reference.metadata == {"kind": "late"}
    assert set(reference.grants) == {f"read:{reader.name}", "read:role:reader"}
    assert _succeeds_at_last(failed.id) == reference
    assert deployment.objects(captain.agent) == [reference.path]
    old, new = deployment.transfer(failed.id), deployment.transfer(anew.id)
    assert (old.state, old.error_code) == ("failed", "source_missing")
    assert (new.state, new.retry_of, new.agent_id) == ("completed", old.id, old.agent_id)
    names = _names(deployment, failed.id)
    assert names.count("transfer.retried") == 1
    assert names[-1] in ("transfer.retried", "transfer.cleaned")


def _names(deployment: Deployment, transfer_id: str) -> list[str]:
    query = "SELECT name FROM argosy.events WHERE transfer_id = :id ORDER BY id"
    return [row.name for row in deployment.query(query, id=transfer_id)]


def test_what_was_chained_goes_on(deployment: Deployment, captain: Captain, spool: Path) -> None:
    path = spool / "late.txt"
    sentence = chain(transfer.upload.s(str(path)), transfer.inspect.s())
    end = sentence.apply_async(headers=captain.headers)
    with pytest.raises(SourceMissing):
        end.get(timeout=RESULT_SECONDS)
    path.write_text("Nevertheless.\n")
    captain.retry(end.parent.id).get(timeout=RESULT_SECONDS)
    reference = _succeeds_at_last(end.id)
    assert reference.facts
    assert reference.facts.content_type == "text/plain"
    assert _succeeds_at_last(end.parent.id).id == reference.id


def test_a_download_is_done_over_again(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    source = deployment.make_file("source.bin", 30 * MB)
    reference = _reference(captain.upload(source))
    destination = spool / "folder" / "back.bin"
    failed = captain.download(reference, destination)
    with pytest.raises(DestinationUnwritable):
        failed.get(timeout=RESULT_SECONDS)
    destination.parent.mkdir()
    assert captain.retry(failed.id).get(timeout=RESULT_SECONDS) == str(destination)
    assert filecmp.cmp(source, destination, shallow=False)
    until(lambda: AsyncResult(failed.id).state == "SUCCESS", what="the new outcome")


def test_a_copy_is_done_over_again_with_what_is_known_now(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    reference = _reference(captain.upload(deployment.make_file("source.bin", MB)))
    wrong = reference.model_copy(update={"md5": None, "sha256": reference.sha256})
    copied = transfer.copy.apply_async((wrong.document(),), headers=captain.headers)
    first = _reference(copied)
    deployment.query(
        "UPDATE argosy.transfers SET state = 'failed', error_code = 'object_changed', "
        "copied_from = jsonb_set(copied_from, '{etag}', '\"replaced\"'), cleaned_at = now(), "
        "reference = cast(:reference AS jsonb) WHERE id = :id RETURNING id",
        id=first.id,
        reference=wrong.model_dump_json(),
    )
    again = _reference(captain.retry(copied.id))
    assert (again.sha256, again.md5) == (reference.sha256, reference.md5)
    assert again.path.split("/")[1] == str(again.id)


def test_the_same_message_twice_is_one_retry(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    path = spool / "late.bin"
    failed = captain.failed_upload(path)
    deployment.make_file("late.bin", MB)
    task_id = str(uuid4())
    for _ in range(3):
        captain.retry(failed.id, task_id=task_id)
    reference = _succeeds_at_last(task_id)
    assert _reference(captain.retry(failed.id, task_id=task_id)) == reference
    assert deployment.objects(captain.agent) == [reference.path]
    retries = "SELECT id FROM argosy.transfers WHERE retry_of = :id"
    assert [row.id for row in deployment.query(retries, id=failed.id)] == [UUID(task_id)]


def test_of_two_retries_the_second_hears_of_the_first(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    failed = captain.failed_upload(spool / "late.bin")
    results = [captain.retry(failed.id) for _ in range(2)]
    for result in results:
        with pytest.raises((InvalidState, SourceMissing)):
            result.get(timeout=RESULT_SECONDS)
    [heir] = deployment.query("SELECT id FROM argosy.transfers WHERE retry_of = :x", x=failed.id)
    [lost] = [result for result in results if result.id != str(heir.id)]
    with pytest.raises(InvalidState, match=f"is done over again as {heir.id}, which is"):
        lost.get(timeout=RESULT_SECONDS)
    status = transfer.status.apply_async((failed.id,), headers=captain.headers)
    assert status.get(timeout=RESULT_SECONDS)["retried_as"] == str(heir.id)


def test_a_retry_that_failed_is_retried_for_the_first_caller_too(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    failed = captain.failed_upload(spool / "late.bin")
    second = captain.retry(failed.id)
    with pytest.raises(SourceMissing):
        second.get(timeout=RESULT_SECONDS)
    deployment.make_file("late.bin", MB)
    reference = _reference(captain.retry(second.id))
    assert _succeeds_at_last(second.id) == _succeeds_at_last(failed.id) == reference


def test_a_cancelled_transfer_is_done_over_again(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    limit_agent(deployment.settings, captain.agent.name, bytes_per_second=24 * MB)
    source = deployment.make_file("large.bin", 136 * MB)
    result = captain.upload(source)
    until(
        lambda: deployment.query(
            "SELECT 1 FROM argosy.transfers WHERE id = :id AND bytes_done > 0", id=result.id
        ),
        what="a transfer in the middle",
    )
    transfer.cancel.apply_async((result.id,), headers=captain.headers).get(timeout=RESULT_SECONDS)
    with pytest.raises(TransferCancelled):
        result.get(timeout=RESULT_SECONDS)
    reference = _reference(captain.retry(result.id))
    assert reference.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    until(lambda: deployment.transfer(result.id).cleaned_at, what="the cleaning up")
    assert deployment.objects(captain.agent) == [reference.path]
    assert not deployment.unfinished_uploads(captain.agent)


def test_who_was_given_nothing_any_more_is_given_nothing_again(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    """What its agent has taken back since it asked stays so, before the failure and after it."""
    early, late, kept = (deployment.add_agent().name for _ in range(3))
    limit_agent(deployment.settings, captain.agent.name, bytes_per_second=MB)
    source = deployment.make_file("large.bin", 120 * MB)
    result = captain.upload(source, share_with=[early, late, kept])
    until(lambda: _has_row(deployment, result.id), what="a transfer that has begun")
    row = deployment.transfer(result.id)
    place = {"bucket": row.bucket, "path": row.object_name}

    def unshare(name: str) -> None:
        take = transfer.unshare.apply_async((place, [name]), headers=captain.headers)
        take.get(timeout=RESULT_SECONDS)

    unshare(early)
    transfer.cancel.apply_async((result.id,), headers=captain.headers).get(timeout=RESULT_SECONDS)
    until(lambda: deployment.transfer(result.id).cleaned_at, what="the cleaning up")
    unshare(late)
    anew = captain.retry(result.id)
    until(lambda: _has_row(deployment, anew.id), what="the retry")
    assert _readers(deployment, anew.id) == {kept}


def _has_row(deployment: Deployment, transfer_id: str) -> bool:
    return bool(deployment.query("SELECT 1 FROM argosy.transfers WHERE id = :id", id=transfer_id))


def _readers(deployment: Deployment, transfer_id: str) -> set[str]:
    query = (
        "SELECT a.name FROM argosy.grants g JOIN argosy.agents a ON a.id = g.agent_id "
        "WHERE g.transfer_id = :id"
    )
    return {row.name for row in deployment.query(query, id=transfer_id)}


def test_an_admin_retries_for_the_agent(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    admin = Captain(deployment.add_agent("admin"))
    failed = captain.failed_upload(spool / "late.bin")
    deployment.make_file("late.bin", MB)
    reference = _reference(admin.retry(failed.id))
    assert reference.owner == captain.agent.id
    assert _succeeds_at_last(failed.id) == reference


def test_who_may_not(deployment: Deployment, captain: Captain, spool: Path) -> None:
    failed = captain.failed_upload(spool / "late.bin")
    done = captain.upload(deployment.make_file("done.bin", 100))
    done.get(timeout=RESULT_SECONDS)
    other = Captain(deployment.add_agent())
    refused: list[tuple[AsyncResult, type[Exception]]] = [
        (other.retry(failed.id), TransferNotFound),
        (captain.retry(done.id), InvalidState),
        (captain.retry(str(uuid4())), TransferNotFound),
        (captain.retry("rubbish"), InvalidRequest),
        (captain.retry(7), InvalidRequest),  # type: ignore[arg-type]
        (_unsigned(deployment, failed.id), NotSignedIn),
    ]
    for result, error in refused:
        with pytest.raises(error):
            result.get(timeout=RESULT_SECONDS)
    with pytest.raises(
        InvalidState, match="is completed: only what failed or was cancelled can be"
    ):
        captain.retry(done.id).get(timeout=RESULT_SECONDS)
    assert not deployment.query(
        "SELECT 1 FROM argosy.transfers WHERE retry_of IN (:a, :b)", a=failed.id, b=done.id
    )


def _unsigned(deployment: Deployment, transfer_id: str) -> AsyncResult:
    place = {"exchange": "argosy.requests", "routing_key": "argosy.control", "declare": []}
    return deployment.app.send_task("transfer.retry", (transfer_id,), **place)


def test_an_id_that_is_taken(deployment: Deployment, captain: Captain, spool: Path) -> None:
    failed = captain.failed_upload(spool / "late.bin")
    done = captain.upload(deployment.make_file("done.bin", 100))
    reference = _reference(done)
    looked = transfer.cancel.apply_async((failed.id,), headers=captain.headers)
    with pytest.raises(InvalidState):
        looked.get(timeout=RESULT_SECONDS)
    captain.retry(failed.id, task_id=done.id)
    refused = "SELECT reason FROM argosy.events WHERE request_id = :id AND outcome = 'refused'"
    [row] = until(lambda: deployment.query(refused, id=done.id), what="the refusal")
    assert row.reason == IdempotencyConflict.code
    assert _reference(AsyncResult(done.id)) == reference


def test_an_agent_that_may_write_no_more(
    deployment: Deployment, captain: Captain, spool: Path
) -> None:
    failed = captain.failed_upload(spool / "late.bin")
    deployment.query(
        "UPDATE argosy.agents SET role = 'reader' WHERE id = :id RETURNING 1", id=captain.agent.id
    )
    with pytest.raises(AccessDenied):
        captain.retry(failed.id).get(timeout=RESULT_SECONDS)
    assert deployment.transfer(failed.id).state == "failed"


def test_the_client(deployment: Deployment, captain: Captain, spool: Path) -> None:
    failed = captain.failed_upload(spool / "late.bin")
    agent = captain.agent
    with Client(agent.settings, agent=agent.name, key=agent.key) as client:
        status = client.retry(failed.id)
        assert status.retry_of == UUID(failed.id)
        with pytest.raises(InvalidState, match=str(status.id)):
            client.retry(failed.id)
        with pytest.raises(SourceMissing):
            client.wait(status.id)
        deployment.make_file("late.bin", MB)
        last = client.retry(status.id)
        assert client.wait(last.id) == client.wait(last.id)


def test_the_command(deployment: Deployment, captain: Captain, spool: Path) -> None:
    failed = captain.failed_upload(spool / "late.bin")
    name, key = captain.agent.name, captain.agent.key
    agents = {**os.environ, **deployment.environment, "ARGOSY_AGENT": name, "ARGOSY_AGENT_KEY": key}
    command = [ARGOSY, "retry", failed.id]
    first, second = (
        subprocess.run(command, env=agents, capture_output=True, text=True, check=False)
        for _ in range(2)
    )
    anew = first.stdout.split()[0]
    assert (first.returncode, deployment.transfer(anew).retry_of) == (0, UUID(failed.id))
    assert second.returncode != 0
    assert f"is done over again as {anew}" in second.stderr
