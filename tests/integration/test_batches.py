"""`transfer.upload_many`: many files by one request, each a transfer and a file of its own."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery.result import AsyncResult
from sqlalchemy.orm import Session

from argosy.auth import TOKEN_HEADER
from argosy.errors import (
    AccessDenied,
    IdempotencyConflict,
    InvalidRequest,
    InvalidState,
    InvalidToken,
    QuotaExceeded,
    TransferCancelled,
)
from argosy.reference import FileReference
from models import Agent, Kind, Parcel
from models.parcel import BatchFile
from tasks import transfer
from tasks.batches import PARCEL_BYTES, PARCEL_FILES, cut
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, deployed, remote, until

COUNT = 2 * PARCEL_FILES + 7
"""Files of three parcels."""


class Shipper(Sender):
    """Sends batches, too."""

    def upload_many(self, sources: list[Any], **options: Any) -> AsyncResult:
        task_id = options.pop("task_id", None)
        return transfer.upload_many.apply_async(
            ([str(source) for source in sources],), options, headers=self.headers, task_id=task_id
        )


@pytest.fixture
def shipper(agent: AgentInTest) -> Shipper:
    return Shipper(agent)


def make_files(spool: Path, count: int, size: int = 1000) -> list[Path]:
    folder = spool / uuid4().hex
    folder.mkdir()
    paths = [folder / f"{number:04} é.txt" for number in range(count)]
    for path in paths:
        path.write_bytes(os.urandom(size))
    return paths


def references(result: AsyncResult) -> list[FileReference]:
    return [FileReference.parse(one) for one in result.get(timeout=RESULT_SECONDS)]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows_of(deployment: Deployment, sent: AsyncResult) -> list[Any]:
    """The rows of a batch's files, by its events."""
    return deployment.query(
        "SELECT t.*, e.name AS event FROM argosy.events e "
        "JOIN argosy.transfers t ON t.id = e.transfer_id "
        "WHERE e.detail ->> 'batch' = :id ORDER BY t.path",
        id=sent.id,
    )


def test_each_file_is_a_transfer_of_its_own(
    deployment: Deployment, shipper: Shipper, spool: Path
) -> None:
    paths = [*make_files(spool, COUNT), *make_files(spool, 1, 0), *make_files(spool, 1, 3_000_000)]
    sent = shipper.upload_many(paths, metadata={"kind": "log"})
    arrived = references(sent)
    assert [one.name for one in arrived] == [path.name for path in paths]
    assert [one.sha256 for one in arrived] == [sha256(path) for path in paths]
    assert {one.content_type for one in arrived} == {"text/plain"}
    assert all(one.metadata == {"kind": "log"} and one.expires_at for one in arrived)
    assert sorted(deployment.objects(shipper.agent)) == sorted(one.path for one in arrived)
    rows = {row.id: row for row in rows_of(deployment, sent)}
    assert {row.event for row in rows.values()} == {"transfer.completed"}
    for one in arrived:
        row = rows[one.id]
        assert (row.kind, row.state, row.sha256) == ("upload", "completed", one.sha256)
        assert (row.size, row.bytes_done, row.chunks_left) == (one.size, one.size, 0)
    batch = deployment.transfer(sent.id)
    assert (batch.state, batch.kind, batch.stored_size) == ("completed", Kind.BATCH, 0)
    assert batch.bytes_done == batch.size == sum(path.stat().st_size for path in paths)
    assert batch.name == f"{paths[0].name} and {len(paths) - 1} more"


def test_a_file_of_it_is_fetched_like_any_other(shipper: Shipper, spool: Path) -> None:
    [path] = make_files(spool, 1)
    [reference] = references(shipper.upload_many([path]))
    back = spool / "back"
    shipper.download(reference, back).get(timeout=RESULT_SECONDS)
    assert back.read_bytes() == path.read_bytes()


def test_any_name_will_do(shipper: Shipper, spool: Path) -> None:
    names = ["-rf", "a\nb.txt", "größe 😀.csv", "100%?#&;.tar.gz", "'\"\\", " ", "..txt", "x" * 255]
    paths = [make_files(spool, 1)[0].with_name(name) for name in names]
    for path in paths:
        path.write_text(path.name)
    arrived = references(shipper.upload_many(paths))
    assert [one.name for one in arrived] == names
    assert [one.sha256 for one in arrived] == [sha256(path) for path in paths]


def test_what_cannot_be_sent_does_not_keep_the_others(
    deployment: Deployment, shipper: Shipper, spool: Path
) -> None:
    good, better = make_files(spool, 2)
    linked = spool / "linked"
    linked.symlink_to(good)
    given = [good, spool / "missing", "/etc/hostname", linked, good.parent, better]
    sent = shipper.upload_many(given)
    came = sent.get(timeout=RESULT_SECONDS)
    assert FileReference.parse(came[0]).sha256 == sha256(good)
    assert FileReference.parse(came[5]).sha256 == sha256(better)
    assert [one["error"] for one in came[1:5]] == [
        *("source_missing", "source_outside_spool", "source_outside_spool", "source_not_a_file")
    ]
    assert [one["source"] for one in came[1:5]] == [str(path) for path in given[1:5]]
    assert "does not exist" in came[1]["message"]
    failed = [row for row in rows_of(deployment, sent) if row.state == "failed"]
    assert len(failed) == 4
    until(
        lambda: all(deployment.transfer(str(row.id)).cleaned_at for row in failed),
        what="the cleaning up of what failed",
    )
    assert len(deployment.objects(shipper.agent)) == 2


def test_a_file_that_is_too_large_for_it_is_for_upload(
    deployment: Deployment, shipper: Shipper, spool: Path
) -> None:
    large = spool / "large"
    with large.open("wb") as file:
        file.truncate(deployment.settings.chunk_threshold + 1)
    [told] = shipper.upload_many([large]).get(timeout=RESULT_SECONDS)
    assert told["error"] == "object_too_large"
    assert "transfer.upload" in told["message"]


def test_it_is_shared_file_by_file(deployment: Deployment, shipper: Shipper, spool: Path) -> None:
    reader = deployment.add_agent()
    arrived = references(shipper.upload_many(make_files(spool, 3), share_with=[reader.name]))
    assert {one.grants for one in arrived} == {(f"read:{reader.name}",)}
    back = spool / "theirs"
    Sender(reader).download(arrived[1], back).get(timeout=RESULT_SECONDS)
    assert hashlib.sha256(back.read_bytes()).hexdigest() == arrived[1].sha256
    with pytest.raises(InvalidRequest, match="nobody"):
        shipper.upload_many(make_files(spool, 1), share_with=["nobody"]).get(timeout=RESULT_SECONDS)


def test_the_same_request_twice_is_one(
    deployment: Deployment, shipper: Shipper, spool: Path
) -> None:
    paths, task_id, key = make_files(spool, 3), str(uuid4()), uuid4().hex
    first = references(shipper.upload_many(paths, task_id=task_id, idempotency_key=key))
    again = references(shipper.upload_many(paths, task_id=task_id, idempotency_key=key))
    by_key = references(shipper.upload_many(paths, idempotency_key=key))
    assert [one.id for one in first] == [one.id for one in again] == [one.id for one in by_key]
    assert len(deployment.objects(shipper.agent)) == 3
    with pytest.raises(IdempotencyConflict):
        shipper.upload_many(paths[:2], idempotency_key=key).get(timeout=RESULT_SECONDS)


@pytest.mark.parametrize("count", [0, 1001])
def test_it_has_some_files_and_not_too_many(shipper: Shipper, spool: Path, count: int) -> None:
    sent = shipper.upload_many([spool / str(number) for number in range(count)])
    with pytest.raises(InvalidRequest, match="sources"):
        sent.get(timeout=RESULT_SECONDS)


def test_a_thousand_are_taken(deployment: Deployment, shipper: Shipper, spool: Path) -> None:
    paths = make_files(spool, 1000, 10)
    arrived = references(shipper.upload_many(paths))
    assert [one.sha256 for one in arrived] == [sha256(path) for path in paths]
    assert len({one.id for one in arrived}) == 1000


def test_readers_and_strangers_may_not(deployment: Deployment, spool: Path) -> None:
    paths = make_files(spool, 1)
    reader = Shipper(deployment.add_agent("reader"))
    with pytest.raises(AccessDenied):
        reader.upload_many(paths).get(timeout=RESULT_SECONDS)
    forged = {TOKEN_HEADER: "nonsense"}
    with pytest.raises(InvalidToken):
        transfer.upload_many.apply_async(([str(paths[0])],), headers=forged).get(
            timeout=RESULT_SECONDS
        )


def test_a_quota_holds_for_all_of_it(deployment: Deployment, spool: Path) -> None:
    agent = deployment.add_agent()
    deployment.transact(
        lambda session: setattr(session.get_one(Agent, agent.id), "max_bytes", 5000)
    )
    shipper = Shipper(agent)
    assert len(references(shipper.upload_many(make_files(spool, 4)))) == 4
    with pytest.raises(QuotaExceeded, match="4000 of them are taken"):
        shipper.upload_many(make_files(spool, 2)).get(timeout=RESULT_SECONDS)
    assert len(references(shipper.upload_many(make_files(spool, 1)))) == 1


def test_it_is_not_done_over_again(shipper: Shipper, spool: Path) -> None:
    sent = shipper.upload_many(make_files(spool, 1))
    sent.get(timeout=RESULT_SECONDS)
    again = transfer.retry.apply_async((sent.id,), headers=shipper.headers)
    with pytest.raises(InvalidState):
        again.get(timeout=RESULT_SECONDS)


def test_files_are_cut_into_parcels() -> None:
    def files(*sizes: int) -> list[BatchFile]:
        return [BatchFile(uuid4(), f"/{n}", {"size": size}) for n, size in enumerate(sizes)]

    many = files(*[1] * (2 * PARCEL_FILES + 1))
    assert [len(parcel) for parcel in cut(many, PARCEL_BYTES)] == [PARCEL_FILES, PARCEL_FILES, 1]
    assert [one for parcel in cut(many, PARCEL_BYTES) for one in parcel] == many
    large = files(6, 6, 20, 1, 1, 0, 0)
    assert [[one.size for one in parcel] for parcel in cut(large, 10)] == [
        *([6], [6], [20], [1, 1, 0, 0])
    ]


# What goes wrong on the way


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of this module's own, to be broken."""
    with deployed(tmp_path_factory.mktemp("fragile")) as made:
        yield made


@pytest.fixture
def own(fragile: Deployment) -> Iterator[Shipper]:
    yield Shipper(fragile.add_agent())
    fragile.clear_spool()


@pytest.fixture
def slow(fragile: Deployment, own: Shipper) -> Shipper:
    """An agent whose bytes move slowly enough to be met on their way."""

    def limit(session: Session) -> None:
        session.get_one(Agent, own.agent.id).bytes_per_second = 1_000_000

    fragile.transact(limit)
    return own


local_only = pytest.mark.skipif(remote(), reason="these tests kill the servers they run on")


def holders(deployment: Deployment, sent: AsyncResult) -> list[Any]:
    return deployment.query(
        "SELECT worker, number FROM argosy.chunks WHERE transfer_id = :id AND state = 'moving'",
        id=sent.id,
    )


def stopped_holder(deployment: Deployment, sent: AsyncResult) -> int | None:
    """Stop a process that holds a parcel: it may have entered it since it was looked at."""
    for one in holders(deployment, sent):
        pid = int(one.worker.rpartition("/")[2])
        os.kill(pid, signal.SIGSTOP)
        if any(now.worker == one.worker for now in holders(deployment, sent)):
            return pid
        os.kill(pid, signal.SIGCONT)
    return None


@local_only
def test_a_worker_that_is_killed_in_a_parcel(fragile: Deployment, own: Shipper) -> None:
    paths = make_files(fragile.spool, 20 * PARCEL_FILES, 20_000)
    sent = own.upload_many(paths)
    pid = until(lambda: stopped_holder(fragile, sent), what="a parcel in somebody's hands")
    os.kill(pid, signal.SIGKILL)
    arrived = references(sent)
    assert [one.sha256 for one in arrived] == [sha256(path) for path in paths]
    assert sorted(fragile.objects(own.agent)) == sorted(one.path for one in arrived)
    rows = rows_of(fragile, sent)
    assert len(rows) == len(paths) == len({row.id for row in rows})
    claimed_again = [chunk.number for chunk in fragile.chunks(sent.id) if chunk.epoch > 1]
    assert claimed_again, "nobody was killed in the middle"


@local_only
def test_storage_that_goes_away_loses_nothing(fragile: Deployment, own: Shipper) -> None:
    storage = fragile.stack_of("supabase")
    paths = make_files(fragile.spool, COUNT, 20_000)
    storage.kill()
    try:
        sent = own.upload_many(paths)
        until(
            lambda: fragile.query(
                "SELECT 1 FROM argosy.chunks WHERE transfer_id = :id AND last_error IS NOT NULL "
                "UNION SELECT 1 FROM argosy.events WHERE transfer_id = :transfer "
                "AND name = 'transfer.put_back'",
                id=sent.id,
                transfer=sent.id,
            ),
            what="a try that failed",
        )
    finally:
        storage.start()
    arrived = references(sent)
    assert [one.sha256 for one in arrived] == [sha256(path) for path in paths]
    assert len(rows_of(fragile, sent)) == COUNT


@local_only
def test_a_cancelled_batch_leaves_what_has_a_row(fragile: Deployment, slow: Shipper) -> None:
    sent = slow.upload_many(make_files(fragile.spool, 1000, 20_000))
    until(lambda: rows_of(fragile, sent), what="the first parcel")
    transfer.cancel.apply_async((sent.id,), headers=slow.headers).get(timeout=RESULT_SECONDS)
    with pytest.raises(TransferCancelled):
        sent.get(timeout=RESULT_SECONDS)
    rows = {row.object_name for row in rows_of(fragile, sent)}
    assert 0 < len(rows) < 1000
    # A worker that was at it has it cleaned once more.
    until(
        lambda: fragile.transfer(sent.id).cleaned_at and set(fragile.objects(slow.agent)) == rows,
        what="the cleaning up",
    )
    assert {row.object_name for row in rows_of(fragile, sent)} == rows


def paused_midway(fragile: Deployment, slow: Shipper) -> tuple[list[Path], AsyncResult]:
    """A batch of which some parcels have been sent, and nothing moves."""
    paths = make_files(fragile.spool, 4 * PARCEL_FILES, 20_000)
    sent = slow.upload_many(paths)
    until(lambda: holders(fragile, sent), what="a parcel on its way")
    transfer.pause.apply_async((sent.id,), headers=slow.headers).get(timeout=RESULT_SECONDS)
    until(lambda: not holders(fragile, sent), what="the end of what was on its way")
    return paths, sent


def test_an_id_that_somebody_else_has_taken(fragile: Deployment, slow: Shipper) -> None:
    """Whoever may list the folder sees the ids of files that have no row yet."""
    paths, sent = paused_midway(fragile, slow)
    waiting = fragile.query(
        "SELECT p.files -> 0 ->> 'id' AS id FROM argosy.parcels p JOIN argosy.chunks c "
        "USING (transfer_id, number) WHERE transfer_id = :id AND c.state <> 'stored'",
        id=sent.id,
    )
    assert waiting, "nothing was left to take"
    other, own_file = Shipper(fragile.add_agent()), make_files(fragile.spool, 1)[0]
    taken = transfer.upload.apply_async(
        (str(own_file),), headers=other.headers, task_id=waiting[0].id
    )
    theirs = FileReference.parse(taken.get(timeout=RESULT_SECONDS))
    transfer.unpause.apply_async((sent.id,), headers=slow.headers).get(timeout=RESULT_SECONDS)
    arrived = references(sent)
    assert [one.sha256 for one in arrived] == [sha256(path) for path in paths]
    assert theirs.id not in {one.id for one in arrived}
    assert sorted(fragile.objects(slow.agent)) == sorted(one.path for one in arrived)
    assert fragile.objects(other.agent) == [theirs.path]


def test_a_file_that_changes_after_it_was_planned(fragile: Deployment, slow: Shipper) -> None:
    """What a parcel sends is what was there when the batch was planned, or is told apart."""
    paths, sent = paused_midway(fragile, slow)
    stored = {row.path for row in rows_of(fragile, sent)}
    late = next(path for path in paths if str(path) not in stored)
    late.write_bytes(b"changed")
    transfer.unpause.apply_async((sent.id,), headers=slow.headers).get(timeout=RESULT_SECONDS)
    came = sent.get(timeout=RESULT_SECONDS)
    told = came.pop(paths.index(late))
    assert (told["error"], told["source"]) == ("source_changed", str(late))
    assert len([FileReference.parse(one) for one in came]) == len(paths) - 1


def test_nobody_guesses_the_ids_of_its_files(
    deployment: Deployment, shipper: Shipper, spool: Path
) -> None:
    """Else another agent could take one of them for a transfer of its own, and be in the way."""
    sent = shipper.upload_many(make_files(spool, 2))
    ids = [one.id for one in references(sent)]
    assert all(one.version == 4 and one != UUID(sent.id) for one in ids)
    numbers = deployment.transact(
        lambda session: [one.number for one in session.query(Parcel).filter_by(transfer_id=sent.id)]
    )
    assert numbers == [1]
