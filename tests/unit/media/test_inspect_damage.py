"""Damaged files give facts, in bounded time and space; a source that fails gives its own error."""

from __future__ import annotations

import io
import json
import random
import tarfile
import time
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from argosy.facts import Facts
from argosy.reference import is_storable
from media.inspect import inspect
from media.source import TrafficExceeded
from tests.corpus.others import CASES
from tests.unit.media.large_files import LargeFile, Run
from tests.unit.media.looking import look

SMALL = 30_000
FLIPPED_FILES = 40
SECONDS = 5
PICTURES = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF")


@cache
def small_files() -> dict[str, bytes]:
    """Of every type the corpus has, and of every format of pictures."""
    found = {form: _picture(form) for form in PICTURES}
    with TemporaryDirectory() as folder:
        for case in CASES:
            if not case.name.startswith("bomb"):
                case.make(Path(folder) / case.name)
                found[case.name] = (Path(folder) / case.name).read_bytes()[:SMALL]
    return found


def _picture(form: str) -> bytes:
    tags = Image.Exif()
    tags[0x010F] = "Maker"
    tags.get_ifd(0x8769)[0x9003] = "2026:11:23 09:10:11"
    tags.get_ifd(0x8825)[2] = (33.0, 51.0, 36.0)
    target = io.BytesIO()
    options = {} if form in {"GIF", "BMP"} else {"exif": tags.tobytes()}
    Image.new("RGB", (32, 24), (9, 99, 200)).save(target, form, **options)
    return target.getvalue()


def checked(content: bytes, name: str = "file") -> Facts:
    began = time.thread_time()
    facts = look(content, name=name, private=True)
    assert time.thread_time() - began < SECONDS
    document = facts.model_dump_json()
    assert is_storable(document)
    assert len(json.dumps(json.loads(document))) < 16_384
    return facts


@pytest.mark.parametrize("name", sorted(small_files()))
def test_flipped_bits(name: str) -> None:
    chance = random.Random(name)
    for _ in range(FLIPPED_FILES):
        content = bytearray(small_files()[name])
        if not content:
            return
        for _ in range(chance.choice((1, 3, 10, 100))):
            reach = min(len(content), chance.choice((64, 600, len(content))))
            content[chance.randrange(reach)] ^= 1 << chance.randrange(8)
        checked(bytes(content), name)


@pytest.mark.parametrize("name", sorted(small_files()))
def test_cut_short(name: str) -> None:
    content = small_files()[name]
    for length in sorted({len(content) * tenth // 10 for tenth in range(10)} | {1, 4, 13, 40}):
        checked(content[:length], name)


@given(
    name=st.sampled_from(sorted(small_files())),
    start=st.integers(0, SMALL),
    insert=st.binary(max_size=40),
    remove=st.integers(0, 40),
)
@settings(max_examples=300, deadline=None)
def test_bytes_put_in_and_taken_out(name: str, start: int, insert: bytes, remove: int) -> None:
    content = small_files()[name]
    start %= len(content) + 1
    checked(content[:start] + insert + content[start + remove :])


@given(st.binary(max_size=2000))
@settings(max_examples=300, deadline=None)
def test_any_bytes_at_all(content: bytes) -> None:
    checked(content)


@pytest.mark.parametrize("name", sorted(small_files()))
def test_where_the_source_ends_its_traffic_there_are_facts(name: str) -> None:
    """The first answer comes, the second does not: what was found until then is told."""
    file = LargeFile(small_files()[name], Run(b"\0", 50_000_000), traffic=70_000)
    facts = look(file, name=name)
    assert facts.content_type
    if facts.kind in {"image", "audio", "video", "pdf", "text"}:
        assert facts.problem or getattr(facts, "image" if facts.kind == "image" else "recording")


class Failing(io.BytesIO):
    """A file of which the second range cannot be read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > 1:
            raise ConnectionResetError("the storage went away")
        return super().read(size)


def _far_apart() -> dict[str, bytes]:
    """Files whose second half lies far behind the first."""
    gap, video = 200_000, small_files()["video.mp4"]
    start = int.from_bytes(video[:4], "big")
    entry = tarfile.TarInfo("file")
    entry.size = gap
    return {
        "mp4": video[:start] + (gap + 8).to_bytes(4, "big") + b"free" + bytes(gap) + video[start:],
        "pdf": small_files()["two-pages.pdf"] + b" " * gap,
        "tar": entry.tobuf() + bytes(-(-gap // 512) * 512) + entry.tobuf(),
        "tiff": b"II*\0" + (gap - 100).to_bytes(4, "little") + bytes(gap),
        "txt": b"line\n" * gap,
        "webp": small_files()["WEBP"]
        + (b"EXTR" + (65_000).to_bytes(4, "little") + bytes(65_000)) * 3,
        "zip": bytes(small_files()["files.zip"][:30]) + bytes(gap) + small_files()["files.zip"],
    }


@pytest.mark.parametrize("name", ["mp4", "pdf", "tar", "tiff", "txt", "webp", "zip"])
def test_what_a_source_raises_is_not_the_files_fault(name: str) -> None:
    content = _far_apart()[name]
    with pytest.raises(ConnectionResetError, match="the storage went away"):
        inspect(Failing(content), len(content), name="file", declared_type="", private=False)


def test_a_source_that_gives_nothing_gives_facts_that_say_so() -> None:
    class Spent(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise TrafficExceeded("no byte more")

    facts = inspect(Spent(), 1000, name="a.mp4", declared_type="video/mp4", private=False)
    assert (facts.kind, facts.content_type) == ("other", "application/octet-stream")
    assert facts.problem is not None
