from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy.errors import SourceChanged
from argosy.storage.body import BLOCK_BYTES
from argosy.storage.checksum import (
    Digest,
    SliceDigest,
    composite_etag,
    digest_file,
    etag_agrees,
    plain_etag,
)

md5s = st.binary(min_size=16, max_size=16).map(bytes.hex)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 7])
def test_a_file_is_digested_in_one_pass(tmp_path: Path, size: int) -> None:
    content = b"argosy " * (size // 7) + b"x" * (size % 7)
    path = tmp_path / "file"
    path.write_bytes(content)
    seen: list[int] = []
    with path.open("rb") as source:
        checksums = digest_file(source.fileno(), size, seen.append)
    assert checksums.sha256 == hashlib.sha256(content).hexdigest()
    assert checksums.md5 == hashlib.md5(content).hexdigest()
    assert checksums.size == sum(seen) == size
    assert max(seen, default=0) <= BLOCK_BYTES


def test_a_file_that_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"short")
    with path.open("rb") as source, pytest.raises(SourceChanged):
        digest_file(source.fileno(), 6)


@given(st.lists(st.binary(max_size=50)))
def test_a_stream_may_be_cut_anywhere(blocks: list[bytes]) -> None:
    digest = Digest()
    for block in blocks:
        digest.update(memoryview(block))
    whole = b"".join(blocks)
    assert digest.checksums().md5 == hashlib.md5(whole).hexdigest()
    assert digest.checksums().sha256 == hashlib.sha256(whole).hexdigest()
    assert digest.size == len(whole)


def test_the_composite_of_s3_documentation() -> None:
    """Three parts of zeros, by hand."""
    part = hashlib.md5(bytes(10)).digest()
    assert composite_etag([part.hex()] * 3) == hashlib.md5(part * 3).hexdigest() + "-3"


@given(st.lists(md5s, min_size=1, max_size=20))
def test_a_composite_agrees_with_its_parts_only(parts: list[str]) -> None:
    etag = composite_etag(parts)
    assert etag_agrees(f'"{etag}"', part_md5s=parts) is True
    assert etag_agrees(etag.upper(), part_md5s=parts) is True
    assert etag_agrees(etag, part_md5s=[*parts, parts[0]]) is False
    assert etag_agrees(etag, parts=len(parts)) is None
    assert etag_agrees(etag, parts=len(parts) + 1) is False
    assert etag_agrees(etag, md5=parts[0]) is None


@given(md5s, md5s)
def test_an_md5_agrees_with_itself_only(one: str, other: str) -> None:
    assert etag_agrees(f'W/"{one}"', md5=one.upper()) is True
    assert etag_agrees(one, md5=other) is (one == other)
    assert etag_agrees(one) is None
    assert etag_agrees(one, part_md5s=[one]) is None


@given(st.floats(1e12, 2e12), st.integers(0, 1 << 40))
def test_an_etag_made_of_the_time_says_nothing(mtime_ms: float, size: int) -> None:
    """The file backend: `${mtimeMs.toString(16)}-${size.toString(16)}`."""
    fraction = f"{int(mtime_ms % 1 * 16**4):x}"
    etag = f'"{int(mtime_ms):x}.{fraction}-{size:x}"'
    assert etag_agrees(etag, md5="0" * 32, part_md5s=["0" * 32], parts=1) is None


@pytest.mark.parametrize(
    ("etag", "plain"), [('"abc"', "abc"), ('W/"abc"', "abc"), ("abc", "abc"), ("", "")]
)
def test_plain(etag: str, plain: str) -> None:
    assert plain_etag(etag) == plain


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 25])
@pytest.mark.parametrize("block", [1, 3, 10, 100])
def test_slices(size: int, block: int) -> None:
    content = bytes(range(size))
    blocks = [content[start : start + block] for start in range(0, size, block)]
    slices = [content[start : start + 10] for start in range(0, size, 10)] or [b""]
    cut = SliceDigest(10)
    for each in blocks:
        cut.update(each)
    assert cut.md5s == [hashlib.md5(each).hexdigest() for each in slices]


def test_a_composite_of_parts_that_are_no_md5s_says_nothing() -> None:
    assert etag_agrees(f"{'0' * 32}-2", part_md5s=[f"{'1' * 32}-2", "0" * 32]) is None
