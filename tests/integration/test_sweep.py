"""A retention sweep: what goes, what stays, and what is left of either."""

from __future__ import annotations

import os
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.orm import Session

from argosy.reference import FileReference
from argosy.storage.body import BytesBody
from models.last_stored import last_stored
from models.sweep import claim_batch
from tasks import transfer
from tests.deployment import AgentInTest, Deployment, until
from tests.integration.derivatives import Family, Requester, family_of, store_of
from tests.integration.expiring import (
    end,
    events,
    let_expire,
    let_none_be_over,
    live,
    many,
    now,
    send_sweep,
    state_of,
    sweep,
    terms,
    would_go,
)


@pytest.fixture(autouse=True)
def only_ours(deployment: Deployment) -> None:
    let_none_be_over(deployment)


@pytest.fixture
def owner(agent: AgentInTest) -> Requester:
    return Requester(agent)


@pytest.fixture
def other(deployment: Deployment) -> Requester:
    return Requester(deployment.add_agent())


@pytest.fixture
def family(deployment: Deployment, owner: Requester) -> Family:
    return family_of(deployment, owner, os.urandom(10_000) * 3)


# What goes


def test_a_file_goes_with_all_that_belongs_to_it(
    deployment: Deployment, owner: Requester, other: Requester, family: Family
) -> None:
    file = family.file
    small = {"bucket": file.bucket, "path": family.thumbnail}
    for place in (file.document(), small):
        owner.do(transfer.share, place, [other.agent.name, "role:reader"])
    before = deployment.transfer(str(file.id))
    let_expire(deployment, file.id)
    told = would_go(deployment)[str(file.id)]
    assert (told["act"], told["objects"]) == ("remove", 3)
    assert deployment.objects(owner.agent) == family.paths
    swept = sweep(deployment)
    assert (swept.ids, swept.code) == ([str(file.id)], 0)
    assert deployment.objects(owner.agent) == []
    row = deployment.transfer(str(file.id))
    assert (row.state, row.ended_at, row.lease_until) == ("expired", before.ended_at, None)
    assert row.tombstone
    assert (row.tombstone["why"], row.tombstone["by"]) == ("expired", "transfer.sweep")
    assert (row.tombstone["objects"], row.tombstone["bytes"]) == (3, told["bytes"])
    assert set(row.tombstone["readers"]) == {str(other.agent.id), "role:reader"}
    [left] = deployment.query(
        "SELECT (SELECT count(*) FROM argosy.derivatives WHERE transfer_id = :id) AS derivatives, "
        "(SELECT count(*) FROM argosy.grants WHERE transfer_id = :id) AS grants",
        id=file.id,
    )
    assert (left.derivatives, left.grants) == (0, 0)
    [event] = events(deployment, file.id, "transfer.expired")
    assert (event.from_state, event.detail["objects"]) == ("completed", 3)


def test_a_round_says_what_came_of_it(deployment: Deployment, owner: Requester) -> None:
    files = [owner.store(os.urandom(100)) for _ in range(3)]
    let_expire(deployment, *(file.id for file in files))
    counts = sweep(deployment).counts
    assert (counts["removed"], counts["objects"], counts["bytes"]) == (3, 3, 300)
    row = deployment.query("SELECT * FROM argosy.rounds WHERE name = 'sweep' ORDER BY id")[-1]
    assert (row.counts, row.ended_at is not None) == (counts, True)
    assert sweep(deployment).counts == dict.fromkeys(counts, 0)


def test_what_is_gone_already(deployment: Deployment, owner: Requester) -> None:
    file = owner.store(b"gone")
    store_of(owner.agent).delete(file.bucket, file.path)
    let_expire(deployment, file.id)
    counts = sweep(deployment).counts
    assert (counts["removed"], counts["objects"], counts["bytes"]) == (1, 0, 0)
    assert state_of(deployment, file.id) == "expired"


def test_the_moment_itself_is_over(deployment: Deployment, owner: Requester) -> None:
    """Due at its very end, and not a microsecond before."""
    many(deployment, owner.agent, 2)
    due, early = deployment.query(
        "SELECT id FROM argosy.transfers WHERE agent_id = :id", id=owner.agent.id
    )

    def claimed(session: Session) -> set[UUID]:
        for row, moment in ((due, "now()"), (early, "now() + interval '1 microsecond'")):
            session.execute(
                text(f"UPDATE argosy.transfers SET expires_at = {moment} WHERE id = :id"),
                {"id": row.id},
            )
        batch = claim_batch(session, terms(deployment), None, lease_seconds=1, worker="w")
        session.rollback()
        return set(batch.claimed)

    assert deployment.transact(claimed) == {due.id}
    sweep(deployment)


# What stays


def test_what_is_not_over_stays(deployment: Deployment, owner: Requester) -> None:
    file = owner.store(b"young")
    assert str(file.id) not in would_go(deployment)
    assert str(file.id) not in sweep(deployment).ids
    assert deployment.objects(owner.agent) == [file.path]


def test_files_that_are_kept_are_never_touched(deployment: Deployment, owner: Requester) -> None:
    """Whatever their rows say: one of that bucket, and one that lies about its bucket."""
    kept = owner.store(b"kept", bucket=deployment.settings.persistent_bucket)
    deployment.query(
        "UPDATE argosy.transfers SET expires_at = now() - interval '1 day' WHERE id = :id "
        "RETURNING id",
        id=kept.id,
    )
    assert str(kept.id) not in would_go(deployment)
    assert str(kept.id) not in sweep(deployment).ids
    same = deployment.settings.persistent_bucket
    assert sweep(deployment, ARGOSY_BUCKET=same).counts["removed"] == 0
    assert deployment.objects(owner.agent) == [kept.path]


def test_a_pinned_file_stays_up_to_a_limit(deployment: Deployment, owner: Requester) -> None:
    file, message = owner.store(b"pinned"), str(uuid4())
    owner.do(transfer.pin, message, [file.document()])
    let_expire(deployment, file.id)
    assert would_go(deployment)[str(file.id)]["act"] == "keep"
    assert sweep(deployment).counts["kept_pinned"] == 1
    assert deployment.objects(owner.agent) == [file.path]
    let_expire(deployment, file.id, ago=f"{deployment.settings.pin_days} days 1 second")
    assert sweep(deployment).ids == [str(file.id)]
    owner.do(transfer.unpin, message)


@pytest.mark.parametrize("which", ["file", "thumbnail"])
@pytest.mark.parametrize("kind", ["download", "copy"])
def test_what_a_live_transfer_reads_stays(
    deployment: Deployment, owner: Requester, family: Family, kind: str, which: str
) -> None:
    bucket = family.file.bucket
    path = family.file.path if which == "file" else family.thumbnail
    if kind == "download":
        reading = live(deployment, owner.agent, kind, bucket, path)
    else:
        origin = {"bucket": bucket, "path": path, "id": None, "etag": None}
        target = f"{owner.agent.id}/{uuid4()}/copy.bin"
        reading = live(deployment, owner.agent, kind, bucket, target, copied_from=origin)
    let_expire(deployment, family.file.id)
    counts = sweep(deployment).counts
    assert (counts["kept_live"], counts["removed"]) == (1, 0)
    assert deployment.objects(owner.agent) == family.paths
    end(deployment, reading)
    assert sweep(deployment).ids == [str(family.file.id)]


def test_what_a_derivative_is_made_of_stays(
    deployment: Deployment, owner: Requester, family: Family
) -> None:
    held = "UPDATE argosy.derivatives SET lease_until = now() + :time WHERE transfer_id = :id"
    let_expire(deployment, family.file.id)
    for minutes, act in ((10, "keep"), (-1, "remove")):
        deployment.query(f"{held} RETURNING id", id=family.file.id, time=timedelta(minutes=minutes))
        assert would_go(deployment)[str(family.file.id)]["act"] == act
    sweep(deployment)


# Stored anew


def _overwrite(owner: Requester, file: FileReference) -> None:
    body = BytesBody(b"something else")
    store_of(owner.agent).put(file.bucket, file.path, body, content_type="text/plain", metadata={})


def test_a_file_that_was_stored_anew_stays(deployment: Deployment, owner: Requester) -> None:
    file = owner.store(b"of old")
    _overwrite(owner, file)
    let_expire(deployment, file.id)
    assert would_go(deployment)[str(file.id)]["act"] == "renew"
    counts = sweep(deployment).counts
    assert (counts["renewed"], counts["removed"]) == (1, 0)
    row = deployment.transfer(str(file.id))
    days = timedelta(days=deployment.settings.retention_days)
    assert row.expires_at
    assert now(deployment) < row.expires_at < now(deployment) + days
    assert FileReference.parse(row.reference or {}).expires_at == row.expires_at
    assert len(events(deployment, file.id, "file.renewed")) == 1
    let_expire(deployment, file.id)  # the bytes are as old as that
    deployment.query(
        "UPDATE argosy.transfers SET ended_at = now() WHERE id = :id RETURNING id", id=file.id
    )
    assert sweep(deployment).ids == [str(file.id)]


def test_what_the_fleet_says_of_an_object_renews_nothing(
    deployment: Deployment, owner: Requester
) -> None:
    """It changes the object's row as an overwrite does; the bytes are of old."""
    file = owner.store(b"described")
    owner.do(transfer.extend, file.document(), 8)
    let_expire(deployment, file.id)
    assert would_go(deployment)[str(file.id)]["act"] == "remove"
    assert sweep(deployment).ids == [str(file.id)]


def test_a_file_of_parts_is_not_taken_for_stored_anew(
    deployment: Deployment, owner: Requester
) -> None:
    """The fleet writes its checksums beside it once it is there."""
    source = deployment.make_file(f"{uuid4()}.bin", deployment.settings.chunk_threshold + 1)
    try:
        file = FileReference.parse(owner.upload(source).get(timeout=90))
    finally:
        source.unlink()
    let_expire(deployment, file.id)
    assert sweep(deployment).ids == [str(file.id)]
    assert deployment.objects(owner.agent) == []


def test_what_cannot_be_seen_is_not_taken_for_gone(
    deployment: Deployment, owner: Requester
) -> None:
    """Where the policies bind the function's owner too, it fails, and tells of nothing missing."""
    file = owner.store(b"there")
    mine = deployment.query("SELECT current_user AS name")[0].name
    deployment.transact(lambda session: session.execute(text("CREATE ROLE bound NOLOGIN")))

    def ask(session: Session) -> None:
        for statement in (
            f'GRANT bound TO "{mine}"',
            "GRANT USAGE, CREATE ON SCHEMA argosy TO bound",
            "GRANT USAGE ON SCHEMA storage TO bound",
            "GRANT SELECT ON argosy.buckets, storage.objects TO bound",
            "ALTER FUNCTION argosy.last_stored(text, text[]) OWNER TO bound",
        ):
            session.execute(text(statement))
        last_stored(session, file.bucket, [file.path])

    try:
        with pytest.raises(ProgrammingError, match="row-level security"):
            deployment.transact(ask)
    finally:
        deployment.transact(lambda session: session.execute(text("DROP ROLE bound")))


# By the clock


def test_the_fleet_sweeps_by_itself(deployment: Deployment, owner: Requester) -> None:
    file = owner.store(b"over")
    let_expire(deployment, file.id)
    send_sweep(deployment)
    until(lambda: state_of(deployment, file.id) == "expired", what="the sweep")
    assert deployment.objects(owner.agent) == []
