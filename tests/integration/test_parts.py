"""Large files on a fleet that leaves out the MD5 of the whole, in parts small enough to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy import FileReference
from argosy.errors import ChecksumMismatch
from argosy.storage.checksum import composite_etag
from tasks import transfer
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import Deployment, deployed, remote

MIB = 1024 * 1024
PART = 5 * MIB
SIZE = 12 * PART + 1

pytestmark = pytest.mark.skipif(remote(), reason="its settings are those of the local stack")


@pytest.fixture(scope="module")
def parted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    settings = {
        "ARGOSY_PART_SIZE": str(PART),
        "ARGOSY_CHUNK_THRESHOLD": str(PART),
        "ARGOSY_WHOLE_MD5": "false",
    }
    with deployed(tmp_path_factory.mktemp("parted"), settings) as made:
        yield made


@pytest.fixture
def own(parted: Deployment) -> Iterator[Sender]:
    yield Sender(parted.add_agent())
    parted.clear_spool()


def sent(own: Sender, source: Path, **options: object) -> FileReference:
    return FileReference.parse(own.upload(source, **options).get(timeout=RESULT_SECONDS))


def part_md5s(content: bytes) -> list[str]:
    starts = range(0, len(content), PART)
    return [hashlib.md5(content[start : start + PART]).hexdigest() for start in starts]


def test_a_file_in_parts_has_no_md5_and_is_verified_by_those_of_its_parts(
    parted: Deployment, own: Sender
) -> None:
    source, back = parted.make_file("source.bin", SIZE), parted.spool / "back.bin"
    content = source.read_bytes()
    reference = sent(own, source)
    assert (reference.md5, reference.chunk_count) == (None, 13)
    assert reference.sha256 == hashlib.sha256(content).hexdigest()
    [stored] = parted.query(
        "SELECT metadata ->> 'eTag' AS etag, user_metadata FROM storage.objects WHERE name = :name",
        name=reference.path,
    )
    assert stored.etag.strip('"') == composite_etag(part_md5s(content))
    assert stored.user_metadata["sha256"] == reference.sha256
    assert "md5" not in stored.user_metadata
    own.download(reference, back).get(timeout=RESULT_SECONDS)
    assert back.read_bytes() == content


def test_a_small_file_still_has_one(parted: Deployment, own: Sender) -> None:
    source = parted.make_file("small.bin", PART)
    assert sent(own, source).md5 == hashlib.md5(source.read_bytes()).hexdigest()


def test_it_is_copied_and_compressed_like_any_other(parted: Deployment, own: Sender) -> None:
    source = parted.spool / "source.txt"
    source.write_bytes(b"a line like many others\n" * (SIZE // 24))
    content, copy, packed = source.read_bytes(), parted.spool / "copy", parted.spool / "packed"
    asked = transfer.copy.apply_async(
        (sent(own, source).document(),), {"name": "copy.txt"}, headers=own.headers
    )
    copied = FileReference.parse(asked.get(timeout=RESULT_SECONDS))
    assert copied.md5 is None
    own.download(copied, copy).get(timeout=RESULT_SECONDS)
    compressed = sent(own, source, compress="zstd")
    own.download(compressed, packed).get(timeout=RESULT_SECONDS)
    assert copy.read_bytes() == packed.read_bytes() == content


def test_spoiled_in_storage_it_is_not_delivered(parted: Deployment, own: Sender) -> None:
    reference = sent(own, parted.make_file("source.bin", SIZE))
    stored = parted.data.rglob("objects/*/*/3")
    _turn_a_bit(max(stored, key=lambda path: path.stat().st_mtime_ns))
    with pytest.raises(ChecksumMismatch):
        own.download(reference, parted.spool / "back.bin").get(timeout=RESULT_SECONDS)
    assert not (parted.spool / "back.bin").exists()


def _turn_a_bit(path: Path) -> None:
    with path.open("r+b") as file:
        first = file.read(1)[0]
        file.seek(0)
        file.write(bytes([first ^ 1]))
