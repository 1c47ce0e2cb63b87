"""`argosy reconcile`: every kind of difference is found, and repaired; nothing else is touched."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from argosy.errors import TransferCancelled
from argosy.reference import FileReference
from models.difference import Difference
from models.tombstone import epitaph
from tasks import transfer
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import ARGOSY, AgentInTest, Deployment, deployed, remote, until
from tests.integration.derivatives import Family, Requester, family_of
from tests.integration.reconciling import (
    BUCKET,
    HOUR,
    PERSISTENT,
    Maker,
    age,
    bytes_on_disk,
    end_of,
    fleet_of,
    flip_a_byte,
    found,
    looked,
    repaired,
)
from worker.agents import limit_agent
from worker.deep import Deep
from worker.repair import Busy, Outcome, Repair

pytestmark = pytest.mark.skipif(remote(), reason="these tests age what lies in Storage by SQL")

SETTINGS = {
    "ARGOSY_CHUNK_THRESHOLD": str(6 * MB),
    "ARGOSY_PART_SIZE": str(5 * 1024 * 1024),
    "ARGOSY_RECONCILE_SECONDS": "3",
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One of this module's own: what others leave behind is no matter here."""
    with deployed(tmp_path_factory.mktemp("reconcile"), SETTINGS) as made:
        yield made


@pytest.fixture
def owner(agent: AgentInTest) -> Requester:
    return Requester(agent)


@pytest.fixture
def other(deployment: Deployment) -> AgentInTest:
    return deployment.add_agent()


@pytest.fixture
def maker(deployment: Deployment, agent: AgentInTest) -> Maker:
    return Maker(deployment, agent)


@pytest.fixture
def family(deployment: Deployment, owner: Requester) -> Family:
    return family_of(deployment, owner, os.urandom(1000) * 30)


def command(deployment: Deployment, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Run it for programs; its exit code and documents."""
    done = subprocess.run(
        [ARGOSY, "reconcile", "--json", *arguments],
        env={**os.environ, **deployment.operator_environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def all_agree(deployment: Deployment) -> None:
    assert found(deployment, 0) == {}


# What agrees


def _cancelled(deployment: Deployment, sender: Sender, source: Path) -> str:
    limit_agent(deployment.settings, sender.agent.name, bytes_per_second=8 * MB)
    sent = sender.upload(source)
    until(lambda: deployment.query("SELECT 1 FROM argosy.transfers WHERE id = :id", id=sent.id))
    transfer.cancel.apply_async((sent.id,), headers=sender.headers).get(timeout=RESULT_SECONDS)
    with pytest.raises((TransferCancelled, Exception)):
        sent.get(timeout=RESULT_SECONDS)
    return str(sent.id)


def _worked(deployment: Deployment, owner: Requester, other: AgentInTest) -> None:
    """What a fleet does in a day."""
    spool = deployment.spool
    small, large = deployment.make_file("small", 100_000), deployment.make_file("large", 12 * MB)
    first = FileReference.parse(
        owner.upload(small, share_with=[other.name]).get(timeout=RESULT_SECONDS)
    )
    whole = FileReference.parse(owner.upload(large).get(timeout=RESULT_SECONDS))
    owner.download(whole.document(), spool / "back").get(timeout=RESULT_SECONDS)
    owner.copy(first)
    FileReference.parse(owner.do(transfer.persist, first.document()))
    kin = family_of(deployment, owner, os.urandom(2000) * 10)
    owner.copy(kin.file)
    picture = spool / "text.txt"
    picture.write_text("so many words " * 50_000)
    text = owner.upload(picture).get(timeout=RESULT_SECONDS)
    owner.do(transfer.compress, text)
    owner.store_encoded(b"encoded " * 1000)
    ended = [_cancelled(deployment, owner, large), owner.upload(spool / "not there").id]
    gone = family_of(deployment, owner, os.urandom(1000))
    owner.do(transfer.delete, gone.file.document())
    until(
        lambda: all(deployment.transfer(one).cleaned_at for one in ended),
        RESULT_SECONDS,
        what="the cleaning",
    )


def test_nothing_differs_after_a_days_work(
    deployment: Deployment, owner: Requester, other: AgentInTest, spool: Path
) -> None:
    _worked(deployment, owner, other)
    all_agree(deployment)
    age(deployment)
    assert command(deployment, "--deep") == (0, [])
    assert deployment.run("reconcile", "--apply", "--persistent").endswith("All agree.\n")
    [[kept]] = deployment.query("SELECT count(*) FROM storage.objects")
    assert kept >= 10


# What differs


def _lost(deployment: Deployment, owner: Requester, maker: Maker) -> FileReference:
    file = owner.store(b"lost")
    maker.lose(file.path)
    return file


def _wrong_size(deployment: Deployment, owner: Requester, maker: Maker) -> FileReference:
    file = owner.store(b"the right size")
    maker.stray(file.path, content=b"wrong")
    return file


def _leases(maker: Maker, owner: Requester, family: Family) -> tuple[UUID, FileReference]:
    """Old claims on a transfer, a chunk and a derivative; nobody is at any of them."""
    deployment, long_ago = maker.deployment, datetime.now(UTC) - timedelta(days=3)
    live = maker.transfer(maker.path(), kind="upload", state="paused", lease_until=long_ago)
    deployment.query(
        'INSERT INTO argosy.chunks (transfer_id, number, "offset", length, state, lease_until)'
        " VALUES (:id, 1, 0, 1, 'moving', :at) RETURNING number",
        id=live,
        at=long_ago,
    )
    deployment.query(
        "INSERT INTO argosy.derivatives (transfer_id, kind, parameters, lease_until, republish_at)"
        " VALUES (:id, 'thumbnail', '{}', :at, now() + interval '1 day') RETURNING id",
        id=family.file.id,
        at=long_ago,
    )
    return live, family.file


def test_every_difference_is_found_and_repaired(
    deployment: Deployment, owner: Requester, maker: Maker, other: AgentInTest, family: Family
) -> None:
    stray, derived = maker.stray(), maker.stray(f"{_folder(family.file)}derived/nobody.webp")
    unfinished, _ = maker.upload(parts=1)
    lost, wrong = _lost(deployment, owner, maker), _wrong_size(deployment, owner, maker)
    maker.lose(family.thumbnail)
    live, leased = _leases(maker, owner, family)
    gone = maker.path("gone.bin")
    maker.grant(gone, other)
    maker.grant(f"{_folder_of(gone)}derived/", other)
    maker.pin(gone)
    expected = {
        f"object_without_transfer {stray}",
        f"object_without_derivative {derived}",
        f"upload_without_transfer {unfinished}",
        f"transfer_without_object {lost.path}",
        f"wrong_size {wrong.path}",
        f"derivative_without_object {family.thumbnail}",
        f"grant_without_file {gone}",
        f"grant_without_file {_folder_of(gone)}derived/",
        f"pin_without_file {gone}",
        f"stale_lease {leased.path}",
        f"stale_lease {deployment.transfer(str(live)).object_name}",
    }
    with end_of(deployment, live):
        young = found(deployment)
        assert {one.kind for one in young.values()} == {"stale_lease"}
        age(deployment)
        assert set(found(deployment)) == expected
        assert command(deployment)[0] == 1
        code, told = command(deployment, "--apply")
        assert code == 1
        assert {one["file"].partition("/")[2]: one["outcome"] for one in told} == {
            name.partition(" ")[2]: "reported" if "wrong_size" in name else "repaired"
            for name in expected
        }
        assert len([one for one in told if one["kind"] == "stale_lease"]) == 3
        assert set(found(deployment, 0)) == {f"wrong_size {wrong.path}"}
        _check_rows(deployment, lost, family)
        assert stray not in deployment.objects(owner.agent)
        assert derived not in deployment.objects(owner.agent)
        assert deployment.unfinished_uploads(owner.agent) == []
        _check_leases(deployment, live)
    owner.do(transfer.delete, wrong.document())
    all_agree(deployment)


def _folder(file: FileReference) -> str:
    return _folder_of(file.path)


def _folder_of(path: str) -> str:
    return f"{path.rpartition('/')[0]}/"


def _check_rows(deployment: Deployment, lost: FileReference, family: Family) -> None:
    row = deployment.transfer(str(lost.id))
    assert row.state == "expired"
    assert row.tombstone is not None
    assert (row.tombstone["why"], row.tombstone["by"]) == ("object missing", "reconcile")
    [made] = deployment.query(
        "SELECT state, reason FROM argosy.derivatives WHERE object_name = :path",
        path=family.thumbnail,
    )
    assert (made.state, made.reason) == ("failed", "Its object is gone from Storage.")
    events = deployment.query(
        "SELECT name FROM argosy.events WHERE detail ->> 'by' = 'reconcile' GROUP BY name"
    )
    assert {one.name for one in events} == {
        "transfer.expired",
        "object.removed",
        "upload.aborted",
        "grant.revoked",
    }


def _check_leases(deployment: Deployment, live: UUID) -> None:
    [chunk] = deployment.chunks(str(live))
    assert (deployment.transfer(str(live)).lease_until, chunk.lease_until) == (None, None)


def test_a_lost_file_takes_its_grants_and_pins_along(
    deployment: Deployment, owner: Requester, maker: Maker, other: AgentInTest
) -> None:
    file = owner.store(b"shared, then lost")
    owner.do(transfer.share, file.document(), [other.name])
    maker.pin(file.path)
    maker.lose(file.path)
    age(deployment)
    assert repaired(deployment) == {file.path: Outcome.REPAIRED}
    row = deployment.transfer(str(file.id))
    assert row.tombstone is not None
    assert row.tombstone["readers"] == [str(other.id)]
    assert "found gone from Storage" in epitaph(row)
    [[left]] = deployment.query(
        "SELECT (SELECT count(*) FROM argosy.grants WHERE starts_with(path, :folder)) "
        "+ (SELECT count(*) FROM argosy.pins WHERE path = :path)",
        folder=_folder(file),
        path=file.path,
    )
    assert left == 0
    all_agree(deployment)


def test_a_lost_file_with_a_compressed_copy_is_left_to_somebody(
    deployment: Deployment, maker: Maker, family: Family
) -> None:
    """Nobody else has its bytes any more."""
    maker.lose(family.file.path)
    age(deployment)
    assert repaired(deployment) == {family.file.path: Outcome.KEPT}
    [one] = found(deployment).values()
    assert one.kept == "copy"
    assert deployment.transfer(str(family.file.id)).state == "completed"
    maker.lose(family.compressed.path)
    assert repaired(deployment)[family.file.path] == Outcome.REPAIRED
    assert found(deployment) == {}
    age(deployment)
    repaired(deployment)
    assert deployment.objects(maker.agent) == []
    all_agree(deployment)


# What is left alone


def test_what_is_young_is_left_alone(deployment: Deployment, maker: Maker) -> None:
    """An object that was replaced a moment ago, and an upload with a new part, are young."""
    replaced, (going, upload_id) = maker.stray(), maker.upload()
    age(deployment)
    maker.stray(replaced, content=b"anew")
    maker.store.upload_part(BUCKET, going, upload_id, 1, _part())
    assert found(deployment) == {}
    assert repaired(deployment) == {}
    assert deployment.objects(maker.agent) == [replaced]
    age(deployment)
    assert set(repaired(deployment).values()) == {Outcome.REPAIRED}
    all_agree(deployment)


def _part() -> Any:
    from argosy.storage.body import BytesBody

    return BytesBody(b"part")


def test_a_file_that_is_claimed_is_left_to_its_claim(
    deployment: Deployment, owner: Requester, maker: Maker, family: Family
) -> None:
    """Whoever removes a file holds its row, and its objects go first."""
    for path in (family.file.path, family.compressed.path, family.thumbnail):
        maker.lose(path)
    age(deployment)
    seen = looked(deployment)
    _claim(deployment, family.file, "now() + interval '30 s'")
    assert found(deployment) == {}
    assert set(repaired(deployment, seen).values()) == {Outcome.GONE}
    assert deployment.transfer(str(family.file.id)).state == "completed"
    _claim(deployment, family.file, "now() - interval '3 d'")
    assert repaired(deployment)[family.file.path] == Outcome.REPAIRED
    all_agree(deployment)


def _claim(deployment: Deployment, file: FileReference, until_: str) -> None:
    deployment.query(
        f"UPDATE argosy.transfers SET lease_until = {until_} WHERE id = :id RETURNING id",
        id=file.id,
    )


@pytest.mark.parametrize("when", ["before the look", "between the look and the deletion"])
@pytest.mark.parametrize("what", ["pin", "download", "copy", "batch"])
def test_what_somebody_names_is_kept(
    deployment: Deployment, maker: Maker, what: str, when: str
) -> None:
    named, free = maker.stray(), maker.stray()
    age(deployment)
    seen = looked(deployment)
    live = _name(maker, what, named)
    if when == "before the look":
        seen = looked(deployment)
    with end_of(deployment, *live):
        assert repaired(deployment, seen) == {named: Outcome.KEPT, free: Outcome.REPAIRED}
        assert deployment.objects(maker.agent) == [named]
        [one] = found(deployment).values()
        assert one.kept == ("pin" if what == "pin" else "transfer")
    deployment.query("DELETE FROM argosy.pins WHERE path = :path RETURNING id", path=named)
    assert repaired(deployment) == {named: Outcome.REPAIRED}
    all_agree(deployment)


def _name(maker: Maker, what: str, path: str) -> list[UUID]:
    if what == "pin":
        maker.pin(path)
        return []
    if what == "download":
        return [maker.transfer(path)]
    if what == "batch":
        return [maker.batch(path)]
    origin = {"bucket": BUCKET, "path": path}
    return [maker.transfer(maker.path(), kind="copy", copied_from=origin)]


def test_what_is_registered_between_the_look_and_the_deletion_is_kept(
    deployment: Deployment, maker: Maker
) -> None:
    from uuid import uuid4

    identity = uuid4()
    path = f"{maker.agent.id}/{identity}/late.bin"
    maker.stray(path, content=b"late")
    age(deployment)
    seen = looked(deployment)
    maker.transfer(path, id=identity, kind="upload", state="completed", size=4, ended_at=_now())
    assert repaired(deployment, seen) == {path: Outcome.GONE}
    assert deployment.objects(maker.agent) == [path]
    maker.lose(path)
    age(deployment)
    repaired(deployment)
    all_agree(deployment)


def _now() -> datetime:
    return datetime.now(UTC)


def test_the_files_that_stay_are_left_alone(
    deployment: Deployment, owner: Requester, maker: Maker
) -> None:
    stray = maker.stray(bucket=PERSISTENT)
    kept = FileReference.parse(owner.do(transfer.persist, owner.store(b"kept").document()))
    maker.lose(kept.path, PERSISTENT)
    age(deployment)
    assert repaired(deployment) == {stray: Outcome.PERSISTENT, kept.path: Outcome.PERSISTENT}
    assert deployment.transfer(str(kept.id)).state == "completed"
    code, told = command(deployment, "--apply", "--persistent")
    assert (code, {one["outcome"] for one in told}) == (0, {"repaired"})
    all_agree(deployment)


def test_another_bucket_is_none_of_its_business(deployment: Deployment) -> None:
    deployment.query(
        "INSERT INTO storage.buckets (id, name) VALUES ('others', 'others') RETURNING id"
    )
    deployment.query(
        "INSERT INTO storage.objects (bucket_id, name, metadata, created_at, updated_at) VALUES "
        "('others', 'theirs', '{\"size\": 1}', now() - interval '9 d', now() - interval '9 d') "
        "RETURNING id"
    )
    assert found(deployment) == {}
    assert repaired(deployment, persistent=True) == {}
    with pytest.raises(Exception, match="no bucket of the fleet"):
        fleet_of(deployment).attempt(
            lambda session: session.execute(
                _text("SELECT * FROM argosy.stray_objects('others', '', 10, '1 s')")
            ).all()
        )


def _text(sql: str) -> Any:
    from sqlalchemy import text

    return text(sql)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--apply", "--older-than", "4m"], b"5m"),
        (["--apply", "--dry-run"], b"--dry-run"),
        (["--persistent"], b"--apply"),
    ],
)
def test_wrong_usage(deployment: Deployment, arguments: list[str], said: bytes) -> None:
    done = subprocess.run(
        [ARGOSY, "reconcile", *arguments],
        env={**os.environ, **deployment.operator_environment},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (2, True)


# Two at once, and one that is killed


def test_two_repairs_at_once_do_everything_once(deployment: Deployment, maker: Maker) -> None:
    strays = {maker.stray() for _ in range(5)}
    age(deployment)
    seen, repair = looked(deployment), Repair(fleet_of(deployment), HOUR)
    with repair.alone():
        done = subprocess.run(
            [ARGOSY, "reconcile", "--apply"],
            env={**os.environ, **deployment.operator_environment},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, b"at work" in done.stderr) == (75, True)
        with pytest.raises(Busy), Repair(fleet_of(deployment), HOUR).alone():
            raise AssertionError
    outcomes: list[Outcome] = []

    def work() -> None:
        mine = Repair(fleet_of(deployment), HOUR)  # past the lock, as if it had been lost
        outcomes.extend(outcome for page in seen for _, outcome in mine.page(page))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [Outcome.GONE] * 10 + [Outcome.REPAIRED] * 5
    removed = deployment.query(
        "SELECT object FROM argosy.events WHERE name = 'object.removed' AND object = ANY (:of)",
        of=[f"{BUCKET}/{path}" for path in strays],
    )
    assert len(removed) == 5
    all_agree(deployment)


def test_a_repair_that_was_killed_is_run_again(deployment: Deployment, maker: Maker) -> None:
    folder = f"{maker.agent.id}/many"
    deployment.query(
        "INSERT INTO storage.objects (bucket_id, name, metadata, version, created_at, updated_at) "
        "SELECT 'agent-transfers', :folder || n, '{\"size\": 1}', gen_random_uuid(), "
        "now() - interval '3 d', now() - interval '3 d' FROM generate_series(1, 4000) n "
        "RETURNING 1",
        folder=folder,
    )
    running = subprocess.Popen(
        [ARGOSY, "reconcile", "--apply"],
        env={**os.environ, **deployment.operator_environment},
        stdout=subprocess.PIPE,
    )
    until(lambda: len(deployment.objects(maker.agent)) < 4000, what="the first batch")
    running.kill()
    running.communicate()
    left = len(deployment.objects(maker.agent))
    assert left < 4000
    code, told = until(lambda: _unless_busy(command(deployment, "--apply")))
    assert code == 0
    assert len(told) <= left
    assert deployment.objects(maker.agent) == []
    all_agree(deployment)


def _unless_busy(ended: tuple[int, list[Any]]) -> tuple[int, list[Any]] | None:
    """The server notices the death of the other one's connection a moment later."""
    return None if ended[0] == 75 else ended


# The bytes


def _deep(deployment: Deployment) -> dict[str, Difference]:
    deep = Deep(fleet_of(deployment), (BUCKET, PERSISTENT), HOUR)
    return {one.path: one for one in deep.differences()}


def test_one_wrong_byte_is_found_and_never_removed(
    deployment: Deployment, owner: Requester, family: Family
) -> None:
    encoded = owner.store_encoded(b"compressed " * 1000)
    age(deployment)
    assert _deep(deployment) == {}
    for file in (family.file, family.compressed, encoded):
        flip_a_byte(bytes_on_disk(deployment, file))
    assert {path: one.kind for path, one in _deep(deployment).items()} == dict.fromkeys(
        (family.file.path, family.compressed.path, encoded.path), "wrong_sha256"
    )
    code, told = command(deployment, "--deep", "--apply")
    assert code == 1
    assert {one["kind"] for one in told} == {"wrong_sha256"}
    assert {one["expected"] for one in told} >= {family.file.sha256}
    assert set(deployment.objects(owner.agent)) == {*family.paths, encoded.path}
    for file in (family.file, encoded):
        owner.do(transfer.delete, file.document())
    all_agree(deployment)


def test_an_object_without_bytes_is_found(
    deployment: Deployment, owner: Requester, maker: Maker
) -> None:
    file, whole = owner.store(b"nowhere"), owner.store(b"there")
    age(deployment)
    bytes_on_disk(deployment, file).unlink()
    assert {path: one.kind for path, one in _deep(deployment).items()} == {file.path: "unreadable"}
    for one in (file, whole):
        owner.do(transfer.delete, one.document())


# The rounds


def test_the_clock_compares_and_changes_nothing(deployment: Deployment, maker: Maker) -> None:
    stray = maker.stray()
    age(deployment)
    [[last]] = deployment.query("SELECT coalesce(max(id), 0) FROM argosy.rounds")

    def entered() -> Any:
        rows = deployment.query(
            "SELECT counts, ended_at FROM argosy.rounds WHERE name = 'reconcile' AND id > :last "
            "AND ended_at IS NOT NULL AND (counts ->> 'object_without_transfer')::int > 0",
            last=last,
        )
        return rows and rows[0]

    counts = until(entered, what="a round").counts
    assert {kind: many for kind, many in counts.items() if many} == {"object_without_transfer": 1}
    assert set(counts) >= {"wrong_size", "stale_lease", "pin_without_file"}
    assert deployment.objects(maker.agent) == [stray]
    repaired(deployment)
    all_agree(deployment)
