"""The main job: a file goes up and comes back, bit for bit."""

from __future__ import annotations

import filecmp
import hashlib
from pathlib import Path

import pytest

from argosy import FileReference
from argosy.errors import SourceMissing
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import Deployment, until

SIZES = [0, 1, 10 * MB, 100 * MB, 100 * MB + 1, 150 * MB]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_comes_back_bit_for_bit(
    deployment: Deployment, sender: Sender, spool: Path, size: int
) -> None:
    (spool / "own").mkdir()  # a worker may still be at what another test has left
    source = deployment.make_file("own/cargo.bin", size)
    uploaded = sender.upload(source)
    reference = FileReference.parse(uploaded.get(timeout=RESULT_SECONDS))
    assert reference.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (reference.size, reference.owner) == (size, sender.agent.id)
    back = sender.download(reference, spool / "own" / "back.bin").get(timeout=RESULT_SECONDS)
    assert filecmp.cmp(source, back, shallow=False)
    assert deployment.objects(sender.agent) == [reference.path]
    assert not deployment.unfinished_uploads(sender.agent)
    assert sorted(path.name for path in (spool / "own").iterdir()) == ["back.bin", "cargo.bin"]


def test_every_step_is_in_the_events(deployment: Deployment, sender: Sender, spool: Path) -> None:
    uploaded = sender.upload(deployment.make_file("cargo.bin", 120 * MB))
    uploaded.get(timeout=RESULT_SECONDS)
    rows = deployment.query(
        "SELECT from_state, to_state FROM argosy.events WHERE transfer_id = :id ORDER BY id",
        id=uploaded.id,
    )
    states = ["queued", "planned", "moving", "assembling", "completed"]
    assert [row.to_state for row in rows] == states
    assert [row.from_state for row in rows] == [None, *states[:-1]]


def test_a_part_has_the_size_of_the_setting(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    uploaded = sender.upload(deployment.make_file("cargo.bin", 120 * MB))
    reference = FileReference.parse(uploaded.get(timeout=RESULT_SECONDS))
    parts = [chunk for chunk in deployment.chunks(uploaded.id) if chunk.number]
    assert reference.chunk_size == 16 * 1024 * 1024
    assert reference.chunk_count == len(parts) == 8
    assert sum(part.length for part in parts) == reference.size
    assert all(part.state == "stored" and part.attempts == 1 for part in parts)


def test_the_object_says_what_it_is(deployment: Deployment, sender: Sender, spool: Path) -> None:
    for size in (10, 101 * MB):
        source = deployment.make_file(f"größe {size}.bin", size)
        reference = FileReference.parse(sender.upload(source).get(timeout=RESULT_SECONDS))
        [row] = deployment.query(
            "SELECT user_metadata FROM storage.objects WHERE name = :name", name=reference.path
        )
        assert row.user_metadata["sha256"] == reference.sha256
        assert row.user_metadata["md5"] == reference.md5
        assert row.user_metadata["owner"] == str(sender.agent.id)


def test_progress_is_reported_to_the_byte(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    deployment.make_file("cargo.bin", 400 * MB)

    def carried() -> tuple[str, list[int]] | None:
        """None where all was over before this process, held up, came to listen."""
        seen: list[int] = []
        uploaded = sender.upload(spool / "cargo.bin")
        uploaded.get(timeout=RESULT_SECONDS, on_message=lambda message: _note(message, seen))
        return (uploaded.id, seen) if seen else None

    transfer_id, seen = until(carried, what="progress that is heard")
    # Each process tells what it has entered itself: two may overtake each other on the way.
    # Celery begins with what is stored, which is told as well.
    assert len(seen[1:]) == len(set(seen[1:]))
    assert max(seen) <= 400 * MB
    assert deployment.transfer(transfer_id).bytes_done == 400 * MB


def test_an_error_names_its_transfer(sender: Sender, spool: Path) -> None:
    failing = sender.upload(spool / "missing.bin")
    with pytest.raises(SourceMissing) as caught:
        failing.get(timeout=RESULT_SECONDS)
    assert caught.value.transfer_id == failing.id
    assert str(spool / "missing.bin") in caught.value.message


def _note(message: dict[str, object], seen: list[int]) -> None:
    meta = message["result"]
    if message["status"] == "PROGRESS" and isinstance(meta, dict):
        assert meta["bytes_total"] == 400 * MB
        seen.append(meta["bytes_done"])
