"""Files that are compressed on their way up, and come back as they were."""

from __future__ import annotations

import filecmp
import hashlib
import random
from pathlib import Path

import pytest

from argosy import FileReference
from argosy.account import Account
from argosy.errors import ChecksumMismatch
from argosy.info import FileInfo
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment

WORDS = [
    f"{word}{number}" for number in range(50) for word in ("transfer", "part", "lease ", "pin")
]


def write_text(path: Path, size: int, seed: int = 1) -> Path:
    """Text that compresses to a third or so, `size` bytes of it."""
    dice = random.Random(seed)
    with path.open("w") as file:
        while file.tell() < size:
            file.write(" ".join(dice.choices(WORDS, k=2000)) + f" {dice.random()}\n")
        file.truncate(size)
    return path


def stored_bytes(deployment: Deployment, agent: AgentInTest, reference: FileReference) -> bytes:
    """The object as it lies in Storage."""
    store = Account(deployment.settings, agent.token).store()
    return b"".join(store.get(reference.bucket, reference.path))


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [1, 5000, 40 * MB, 130 * MB])
def test_a_compressed_file_comes_back_bit_for_bit(
    deployment: Deployment, sender: Sender, spool: Path, size: int, encoding: str
) -> None:
    source = write_text(spool / "words.txt", size)
    uploaded = sender.upload(source, compress=encoding)
    reference = FileReference.parse(uploaded.get(timeout=RESULT_SECONDS))
    assert (reference.encoding, reference.size) == (encoding, size)
    assert reference.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert reference.stored
    if size > 1:
        assert reference.stored.size < size
    stored = stored_bytes(deployment, sender.agent, reference)
    assert len(stored) == reference.stored.size
    assert hashlib.sha256(stored).hexdigest() == reference.stored.sha256
    back = sender.download(reference, spool / "back.txt").get(timeout=RESULT_SECONDS)
    assert filecmp.cmp(source, back, shallow=False)
    assert not deployment.unfinished_uploads(sender.agent)
    assert deployment.objects(sender.agent) == [reference.path]


def test_no_room_is_taken_for_a_size_that_the_stored_file_denies(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    """A reference is anybody's word: its transfer ends before it is planned."""
    own = spool / "own"  # a worker may still be at what another test has left
    own.mkdir()
    source = write_text(own / "words.txt", 2 * MB)
    uploaded = sender.upload(source, compress="zstd").get(timeout=RESULT_SECONDS)
    result = sender.download({**uploaded, "size": 40 * MB}, own / "back.txt")
    with pytest.raises(ChecksumMismatch, match=r"words\.txt is damaged in Storage"):
        result.get(timeout=RESULT_SECONDS)
    assert not deployment.chunks(result.id)
    assert [path.name for path in own.iterdir()] == [source.name]


def test_what_nobody_would_decode_is_stored_as_it_is(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    """Found out at the end of the pass: the parts that were stored are replaced."""
    source = spool / "zeros"
    with source.open("wb") as file:
        file.truncate(120 * MB)
    reference = FileReference.parse(
        sender.upload(source, compress="zstd").get(timeout=RESULT_SECONDS)
    )
    assert (reference.encoding, reference.size) == (None, 120 * MB)
    assert len(stored_bytes(deployment, sender.agent, reference)) == 120 * MB
    assert not deployment.unfinished_uploads(sender.agent)


def test_auto_leaves_noise_as_it_is_and_says_why(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    source = deployment.make_file("noise.txt", 2 * MB)
    uploaded = sender.upload(source, compress="auto")
    reference = FileReference.parse(uploaded.get(timeout=RESULT_SECONDS))
    assert reference.encoding is None
    [row] = deployment.query(
        "SELECT outcome, detail FROM argosy.provenance WHERE transfer_id = :id", id=uploaded.id
    )
    assert row.outcome == "skipped"
    assert "must save" in row.detail["reason"]


def test_an_empty_file_is_not_compressed(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    uploaded = sender.upload(deployment.make_file("empty.txt", 0), compress="zstd")
    reference = FileReference.parse(uploaded.get(timeout=RESULT_SECONDS))
    assert (reference.encoding, reference.size) == (None, 0)


def test_the_object_alone_says_how_to_read_it(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    for size in (5000, 110 * MB):
        source = write_text(spool / "words.txt", size)
        uploaded = sender.upload(source, compress="zstd")
        reference = FileReference.parse(uploaded.get(timeout=RESULT_SECONDS))
        store = Account(deployment.settings, sender.agent.token).store()
        head = store.head(reference.bucket, reference.path)
        known = FileInfo.of_head(reference.bucket, reference.path, head).reference()
        assert (known.sha256, known.stored, known.encoding, known.size) == (
            reference.sha256,
            reference.stored,
            "zstd",
            size,
        )
