"""What is worth compressing: the type, a sample, and the reason in words."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Sequence

import pytest
import zstandard
from PIL import Image

from argosy.coding.worth import Verdict, is_worth, sample_ranges
from argosy.derived import Encoding

from .made import ENCODINGS, noise, records

MIB = 1024 * 1024


def judged(content_type: str, *samples: bytes, encoding: Encoding = "zstd") -> Verdict:
    return is_worth(content_type, samples, encoding=encoding, level=3, saving=0.05)


def picture(kind: str) -> bytes:
    drawn = io.BytesIO()
    Image.linear_gradient("L").resize((400, 300)).convert("RGB").save(drawn, kind)
    return drawn.getvalue()


def table() -> bytes:
    rows = (f"{number},{number * 37 % 101},Rotterdam\n" for number in range(5000))
    return "".join(["number,weight,port\n", *rows]).encode()


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("noise", noise(50_000))
    return packed.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("content_type", "sample"),
    [
        ("application/json", json.dumps([{"number": n} for n in range(3000)]).encode()),
        ("application/octet-stream", records(100_000)),
        ("application/x-ndjson", records(100_000)),
        ("image/bmp", picture("BMP")),
        ("image/svg+xml", b"<svg>" + b"<rect width='1' height='1'/>" * 500 + b"</svg>"),
        ("image/tiff", picture("TIFF")),
        ("text/csv", table()),
        ("Text/Plain; charset=utf-8", b"the quick brown fox jumps over the lazy dog\n" * 100),
        ("text/plain", base64.b64encode(noise(150_000))),
    ],
)
def test_worth(encoding: Encoding, content_type: str, sample: bytes) -> None:
    verdict = judged(content_type, sample, encoding=encoding)
    assert verdict.worth
    assert re.fullmatch(
        rf"A sample of {len(sample)} bytes gets \d+\.\d% smaller with {encoding}\.", verdict.reason
    )


@pytest.mark.parametrize(
    ("content_type", "sample"),
    [
        ("application/epub+zip", zipped()),
        ("application/pdf", b"%PDF-1.7\n" * 1000),
        ("application/vnd.oasis.opendocument.text", zipped()),
        ("application/zip", zipped()),
        ("application/zstd", zstandard.compress(noise(1000))),
        ("image/jpeg", picture("JPEG")),
        ("image/png; charset=binary", picture("PNG")),
        ("video/mp4", bytes(1000)),
    ],
)
def test_types_that_are_compressed(content_type: str, sample: bytes) -> None:
    plain = content_type.partition(";")[0]
    verdict = judged(content_type, sample)
    assert verdict == Verdict(False, f"Files of type {plain} are compressed by themselves.")


@pytest.mark.parametrize(
    ("content_type", "sample"),
    [
        ("application/octet-stream", noise(100_000)),
        ("image/tiff", noise(100_000)),
        ("text/plain", zipped()),
        ("text/plain", b"short"),
    ],
    ids=["noise", "tiff", "zip", "short"],
)
def test_samples_that_save_nothing(content_type: str, sample: bytes) -> None:
    verdict = judged(content_type, sample)
    assert not verdict.worth
    assert re.fullmatch(
        rf"A sample of {len(sample)} bytes gets \d+\.\d% (smaller|larger) with zstd: "
        r"less than the 5\.0% that it must save\.",
        verdict.reason,
    )


def test_how_much_is_a_setting() -> None:
    sample = base64.b64encode(noise(150_000))  # saves a quarter
    for saving, worth in ((0.2, True), (0.3, False)):
        found = is_worth("text/plain", [sample], encoding="zstd", level=3, saving=saving)
        assert found.worth == worth


def test_all_samples_count() -> None:
    assert not judged("text/plain", records(1000), noise(100_000)).worth
    assert judged("text/plain", records(100_000), noise(100_000)).worth


@pytest.mark.parametrize("samples", [(), (b"",)], ids=["none", "empty"])
def test_nothing(samples: Sequence[bytes]) -> None:
    assert judged("text/plain", *samples) == Verdict(False, "The file is empty.")


@pytest.mark.parametrize("size", [1, MIB - 1, MIB])
def test_small_files_are_sampled_whole(size: int) -> None:
    assert sample_ranges(size) == [(0, size)]


def test_empty_files_have_no_sample() -> None:
    assert sample_ranges(0) == []


@pytest.mark.parametrize("size", [MIB + 1, 10_000_019, 5 * 1024**4])
def test_large_files_are_sampled_here_and_there(size: int) -> None:
    ranges = sample_ranges(size)
    assert sum(length for _, length in ranges) == MIB
    assert ranges[0][0] == 0
    assert sum(ranges[-1]) == size
    ends = [start + length for start, length in ranges]
    assert all(end <= start for end, (start, _) in zip(ends, ranges[1:], strict=False))
