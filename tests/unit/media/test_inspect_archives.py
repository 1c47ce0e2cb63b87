from __future__ import annotations

import io
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from argosy.facts import ArchiveFacts, Facts
from tests.unit.media.large_files import LargeFile, Run
from tests.unit.media.looking import look
from tests.unit.media.test_inspect_corpus import made

ZERO = b"\0"


def archive(content: bytes | LargeFile) -> ArchiveFacts:
    facts = look(content)
    assert facts.problem is None
    assert facts.archive is not None
    return facts.archive


def zipped(entries: int, size: int = 1000) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for number in range(entries):
            file.writestr(f"file {number}.txt", b"x" * size)
    return target.getvalue()


def test_a_zips_directory(tmp_path: Path) -> None:
    said = ArchiveFacts(form="zip", entries=3, size=3000, encrypted=False)
    assert archive(made("files.zip", tmp_path)) == said
    assert archive(made("locked.zip", tmp_path)).encrypted
    assert archive(zipped(0)) == ArchiveFacts(form="zip", entries=0, size=0, encrypted=False)
    assert archive(zipped(2)).entries == 2


def test_a_zip_of_a_million_entries_is_not_read_through() -> None:
    name = b"a.txt"
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, 10, 500, len(name),
                        0, 0, 0, 0, 0, 0) + name  # fmt: skip
    start = b"PK\x03\x04" + bytes(26) + b"content"
    length = len(entry) * 1_000_000
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, length, len(start), 0)
    file = LargeFile(start, Run(entry, length), end)
    tracemalloc.start()
    found = archive(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.more_entries
    assert found.entries is not None
    assert 50_000 < found.entries < 1_000_000
    assert found.size == 500 * found.entries
    assert file.fetched < 10_000_000
    assert peak < 40_000_000


def test_a_zip_of_more_than_four_gigabytes() -> None:
    content = bytearray(zipped(1))
    at = content.index(b"PK\x01\x02")
    extra = struct.pack("<HHQ", 1, 8, 7 * 1024**3)
    name = struct.unpack("<H", content[at + 28 : at + 30])[0]
    content[at + 24 : at + 28] = b"\xff\xff\xff\xff"
    content[at + 30 : at + 32] = struct.pack("<H", len(extra))
    content[at + 46 + name : at + 46 + name] = extra
    length = content.index(b"PK\x05\x06") - at
    content = content[: at + length]
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, length, at)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(content), 1)
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert archive(bytes(content) + record + locator + end) == ArchiveFacts(
        form="zip", entries=1, size=7 * 1024**3, encrypted=False)  # fmt: skip


def test_a_large_zip_costs_its_directory() -> None:
    content = zipped(5)
    at = content.index(b"PK\x01\x02")
    file = LargeFile(content[:at], Run(ZERO, 3 * 1024**3), content[at:])
    assert archive(file).entries == 5
    assert file.fetched < 500_000


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tars_headers(form: int) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as file:
        for name in ("first.txt", "folder/" * 14 + "n" * 90, "last.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = 700
            file.addfile(entry, io.BytesIO(b"x" * 700))
    assert archive(target.getvalue()) == ArchiveFacts(
        form="tar", entries=3, size=2100, encrypted=False)  # fmt: skip


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_entry_of_a_tar_of_more_than_eight_gigabytes(form: int) -> None:
    size = 9 * 1024**3
    entry = tarfile.TarInfo("large.bin")
    entry.size = size
    file = LargeFile(entry.tobuf(form), Run(ZERO, size), Run(ZERO, 1024))
    assert archive(file) == ArchiveFacts(form="tar", entries=1, size=size, encrypted=False)
    assert file.fetched < 1_000_000


@pytest.mark.parametrize("size", [0, 1000, 1_000_000])
def test_a_tar_of_a_million_entries_is_not_walked_through(size: int) -> None:
    entry = tarfile.TarInfo("file")
    entry.size = size
    block = entry.tobuf(tarfile.USTAR_FORMAT) + bytes(-(-size // 512) * 512)
    file = LargeFile(Run(block, len(block) * 1_000_000), Run(ZERO, 1024))
    found = archive(file)
    assert found.more_entries
    assert found.entries is not None
    assert found.entries >= 50
    assert found.size == size * found.entries
    assert file.fetched < 16_000_000
    assert file.requests < 200


def test_a_damaged_tar_says_where() -> None:
    entry = tarfile.TarInfo("file")
    facts = look(entry.tobuf(tarfile.USTAR_FORMAT) + b"x" * 512)
    assert facts.problem == "The tar is damaged: there is no header at byte 512."


@pytest.mark.parametrize("packed", ["gz", "bz2", "xz", "zst"])
def test_a_compressed_tar_is_known_by_its_head(packed: str, tmp_path: Path) -> None:
    found = archive(made(f"files.tar.{packed}", tmp_path))
    assert (found.content, found.entries) == ("tar", None)


@pytest.mark.parametrize("name", ["bomb.gz", "bomb.zst"])
def test_a_bomb_is_not_unpacked(name: str, tmp_path: Path) -> None:
    content = made(name, tmp_path)
    tracemalloc.start()
    facts = look(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert facts.archive == ArchiveFacts(form=facts.archive.form if facts.archive else "",
                                         encrypted=False)  # fmt: skip
    assert peak < 4_000_000


def test_other_archives_are_named() -> None:
    for mark, form in [(b"7z\xbc\xaf\x27\x1c", "7z"), (b"Rar!\x1a\x07\x01\0", "rar")]:
        facts = look(mark + bytes(100))
        assert facts == Facts(kind="archive", content_type=facts.content_type,
                              archive=ArchiveFacts(form=form))  # fmt: skip
