"""What was encoded is the file again: whole, in ranges, and for readers that know no table."""

from __future__ import annotations

import gzip
import io
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import cast

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy.coding.decoder import decoded
from argosy.coding.encoder import Encoder, encoded
from argosy.coding.formats import format_of
from argosy.coding.frames import FRAME_BYTES, Frame, FrameTable
from argosy.derived import Encoding

from .made import (
    ENCODINGS,
    LEVEL,
    SIZES,
    CountedObject,
    mixed,
    noise,
    object_of,
    records,
    stored_for,
)
from .memory import MIB, little_memory

LARGE = mixed(3 * FRAME_BYTES + 54_321)
OBJECTS = {encoding: object_of(LARGE, encoding) for encoding in ENCODINGS}
either = pytest.mark.parametrize("encoding", ENCODINGS)


@either
@pytest.mark.parametrize("size", SIZES)
def test_sizes(encoding: Encoding, size: int) -> None:
    data = mixed(size)
    stored = object_of(data, encoding)
    assert stored.content() == data
    frames = list(stored.table())
    assert len(frames) == -(-size // FRAME_BYTES)
    assert all(frame.size == FRAME_BYTES for frame in frames[:-1])


@given(data=st.binary(max_size=2000), encoding=st.sampled_from(ENCODINGS), level=st.integers(1, 9))
def test_any_bytes(data: bytes, encoding: Encoding, level: int) -> None:
    assert object_of(data, encoding, level).content() == data


@either
def test_what_cannot_be_compressed(encoding: Encoding) -> None:
    data = noise(FRAME_BYTES + 1)
    assert object_of(data, encoding).content() == data


@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(0, len(LARGE)), max_size=12), encoding=st.sampled_from(ENCODINGS))
def test_however_it_is_cut(cuts: list[int], encoding: Encoding) -> None:
    ends = [*sorted(cuts), len(LARGE)]
    view = memoryview(LARGE)
    blocks = [view[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert b"".join(encoded(blocks, encoding, LEVEL)) == OBJECTS[encoding].stored


@either
def test_in_small_blocks(encoding: Encoding) -> None:
    data = LARGE[: FRAME_BYTES + 5000]
    blocks = (data[first : first + 1009] for first in range(0, len(data), 1009))
    assert b"".join(encoded(blocks, encoding, LEVEL)) == stored_for(data, encoding)


@either
def test_the_encoder_knows_its_table(encoding: Encoding) -> None:
    encoder = Encoder(encoding, LEVEL)
    frames = b"".join(encoder.update(LARGE))
    assert len(encoder.table) == 3
    assert len(frames) == encoder.table.stored
    rest = b"".join(encoder.finish())
    assert list(encoder.table) == list(OBJECTS[encoding].table())
    assert encoder.table.size == len(LARGE)
    assert frames + rest == OBJECTS[encoding].stored


@settings(deadline=None, max_examples=100)
@given(data=st.data(), encoding=st.sampled_from(ENCODINGS))
def test_any_range(data: st.DataObject, encoding: Encoding) -> None:
    start = data.draw(st.integers(0, len(LARGE)), "start")
    length = data.draw(st.integers(0, len(LARGE) - start), "length")
    assert OBJECTS[encoding].content(start, length) == LARGE[start : start + length]


@either
@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, 0),
        (len(LARGE), 0),
        (0, 1),
        (FRAME_BYTES - 1, 1),
        (FRAME_BYTES, 1),
        (FRAME_BYTES - 1, 2),
        (FRAME_BYTES, FRAME_BYTES),
        (len(LARGE) - 1, 1),
    ],
)
def test_edges(encoding: Encoding, start: int, length: int) -> None:
    assert OBJECTS[encoding].content(start, length) == LARGE[start : start + length]


@either
@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, len(LARGE) + 1), (len(LARGE), 1)])
def test_no_such_range(encoding: Encoding, start: int, length: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        OBJECTS[encoding].content(start, length)


@either
@pytest.mark.parametrize(
    ("start", "length", "frames"),
    [(0, 1, [0]), (FRAME_BYTES + 9, 9, [1]), (2 * FRAME_BYTES - 1, 2, [1, 2])],
)
def test_only_what_is_needed_is_fetched(
    encoding: Encoding, start: int, length: int, frames: list[int]
) -> None:
    stored = object_of(LARGE, encoding)
    assert stored.content(start, length) == LARGE[start : start + length]
    table = list(OBJECTS[encoding].table())
    begin = sum(frame.stored for frame in table[: frames[0]])
    count = sum(table[number].stored for number in frames)
    of_table = format_of(encoding).table_length(len(table))
    assert stored.asked == [(len(stored.stored) - of_table, of_table), (begin, count)]


@either
def test_blocks_are_small(encoding: Encoding) -> None:
    sizes = [len(block) for block in OBJECTS[encoding].blocks(1)]
    assert 0 < min(sizes) <= max(sizes) <= 1024 * 1024


@either
def test_closing_stops_the_reading(encoding: Encoding) -> None:
    stored = object_of(LARGE, encoding)
    ended = []

    def get(offset: int, length: int) -> Iterator[bytes]:
        try:
            yield from stored.get(offset, length)
        finally:
            ended.append(True)

    blocks = decoded(stored.table(), encoding, get, 0, len(LARGE))
    with closing(cast("Generator[bytes]", blocks)):
        next(blocks)
        assert not ended
    assert ended


@pytest.mark.parametrize("size", SIZES)
def test_other_readers_of_gzip(size: int) -> None:
    data = records(size)
    assert gzip.decompress(stored_for(data, "gzip")) == data


@pytest.mark.parametrize("size", SIZES)
def test_other_readers_of_zstd(size: int) -> None:
    data = records(size)
    source = io.BytesIO(stored_for(data, "zstd"))
    reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
    assert reader.read() == data


def test_long_tables() -> None:
    frames = FrameTable(Frame(1000 + number % 97, FRAME_BYTES) for number in range(20_000))
    for encoding in ENCODINGS:
        container = format_of(encoding)
        raw = container.table(frames)
        assert len(raw) == container.table_length(len(frames))
        assert list(container.entries(raw, len(frames))) == list(frames)
    assert gzip.decompress(format_of("gzip").table(frames)) == b""


def test_levels_that_gzip_has_not() -> None:
    data = records(100_000)
    assert stored_for(data, "gzip", 19) == stored_for(data, "gzip", 9)


@either
def test_memory(encoding: Encoding) -> None:
    zeros = (bytes(MIB) for _ in range(64))
    with little_memory():
        stored = CountedObject(b"".join(encoded(zeros, encoding, LEVEL)), encoding, 64 * MIB)
        blocks = stored.blocks()
        assert sum(len(block) for block in blocks if not block.strip(b"\0")) == 64 * MIB
