"""A file that changes between two readings of an upload, and nothing about it says so.

Its bytes are written through a mapping, in a file system whose times do not tell of that.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery.result import AsyncResult
from sqlalchemy import text

from argosy import FileReference
from argosy.errors import SourceChanged
from argosy.files import Fingerprint
from argosy.storage.part_hashes import fold
from models import DIGEST, ChunkState
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import Deployment, remote, until
from tests.faults.leaving import start_worker, until_held, without_fleet
from tests.integration.client.gate import Gate, answer, gate_to

MIB = 1024 * 1024
PART = 16 * MIB
"""Of what is held half is passed on; sockets do not take all of the other half."""
LAST = 2
MEMORY = Path("/dev/shm")

pytestmark = [
    pytest.mark.skipif(remote(), reason="its workers go through a gate of this machine"),
    pytest.mark.skipif(not MEMORY.is_dir(), reason="elsewhere a file's times may tell of it"),
]


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    parts = {"ARGOSY_PART_SIZE": str(PART), "ARGOSY_CHUNK_THRESHOLD": str(PART)}
    with (
        tempfile.TemporaryDirectory(prefix="argosy-", dir=MEMORY) as spool,
        without_fleet(tmp_path_factory.mktemp("tied"), ARGOSY_SPOOL=spool, **parts) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def gate_of_worker(fragile: Deployment) -> Iterator[Gate]:
    with gate_to(fragile.settings.supabase_url) as made:
        start_worker(fragile, made, "one", grace=0)
        yield made


@pytest.fixture
def gate(gate_of_worker: Gate) -> Iterator[Gate]:
    gate_of_worker.passed.clear()
    gate_of_worker.released.clear()
    yield gate_of_worker
    gate_of_worker.hold, gate_of_worker.fault = (lambda _passing: False), (lambda _passing: None)
    gate_of_worker.drops_held = False
    gate_of_worker.released.set()


@pytest.fixture
def own(fragile: Deployment, gate: Gate) -> Iterator[Sender]:
    yield Sender(fragile.add_agent())
    fragile.clear_spool()


def turn_a_bit(source: Path) -> None:
    """Of the last byte, in memory that is mapped."""
    with source.open("r+b") as file:
        before = Fingerprint.of(file.fileno())
        with mmap.mmap(file.fileno(), 0) as memory:
            memory[-1] ^= 1
        assert Fingerprint.of(file.fileno()) == before


def hold_last_part(own: Sender, gate: Gate, source: Path) -> AsyncResult:
    """Upload a file, and have the end of it be read last of all."""
    gate.hold = lambda passing: passing.part == LAST
    result = own.upload(source)
    until_held(gate)
    return result


def all_but_last(fragile: Deployment, result: AsyncResult) -> Callable[[], bool]:
    def stored() -> bool:
        ends = {chunk.number: chunk.state for chunk in fragile.chunks(result.id)}
        return all(ends[number] == ChunkState.STORED for number in range(DIGEST, LAST))

    return stored


def hashes(fragile: Deployment, result: AsyncResult) -> dict[int, int | None]:
    return {chunk.number: chunk.xxh3 for chunk in fragile.chunks(result.id)}


def check_whole(fragile: Deployment, result: AsyncResult, source: Path) -> None:
    reference = FileReference.parse(result.get(timeout=RESULT_SECONDS))
    assert reference.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    whole, *parts = hashes(fragile, result).values()
    assert len(parts) == LAST
    assert fold(parts) == whole


def test_written_between_the_digest_and_a_part(
    fragile: Deployment, own: Sender, gate: Gate
) -> None:
    source = fragile.make_file("cargo.bin", LAST * PART)
    result = hold_last_part(own, gate, source)
    until(all_but_last(fragile, result), what="the digest")
    turn_a_bit(source)
    gate.released.set()
    with pytest.raises(SourceChanged, match=rf"{source} was written.*Upload it again") as caught:
        result.get(timeout=RESULT_SECONDS)
    assert caught.value.transfer_id == result.id
    until(lambda: fragile.transfer(result.id).cleaned_at, what="the cleaning up")
    assert fragile.objects(own.agent) == []
    assert fragile.unfinished_uploads(own.agent) == []
    gate.hold = lambda _passing: False
    check_whole(fragile, own.upload(source), source)


def test_a_part_that_storage_refuses_once(fragile: Deployment, own: Sender, gate: Gate) -> None:
    source = fragile.make_file("cargo.bin", LAST * PART)
    gate.fault = lambda passing: (
        answer(503, "away") if passing.part and gate.asked_parts[passing.part] == 1 else None
    )
    check_whole(fragile, own.upload(source), source)
    assert set(gate.asked_parts.values()) == {2}


def test_a_part_that_another_takes_over(fragile: Deployment, own: Sender, gate: Gate) -> None:
    source = fragile.make_file("cargo.bin", LAST * PART)
    result = hold_last_part(own, gate, source)
    [holder] = {chunk.worker for chunk in fragile.chunks(result.id) if chunk.number == LAST}
    gate.hold, gate.drops_held = (lambda _passing: False), True
    os.kill(int(holder.rpartition("/")[2]), signal.SIGKILL)
    gate.released.set()
    check_whole(fragile, result, source)
    assert gate.asked_parts[LAST] == 2


@pytest.mark.parametrize("number", [DIGEST, 1])
def test_what_an_older_worker_stored_is_not_compared(
    fragile: Deployment, own: Sender, gate: Gate, number: int
) -> None:
    source = fragile.make_file("cargo.bin", LAST * PART)
    result = hold_last_part(own, gate, source)
    until(all_but_last(fragile, result), what="the digest")
    turn_a_bit(source)
    forget_hash(fragile, result, number)
    gate.released.set()
    assert result.get(timeout=RESULT_SECONDS)
    assert [at for at, xxh3 in hashes(fragile, result).items() if xxh3 is None] == [number]


def forget_hash(fragile: Deployment, result: AsyncResult, number: int) -> None:
    statement = text("UPDATE argosy.chunks SET xxh3 = NULL WHERE (transfer_id, number) = (:id, :n)")
    fragile.transact(lambda session: session.execute(statement, {"id": result.id, "n": number}))
