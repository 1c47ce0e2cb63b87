"""Objects that are damaged, or made to do harm: one typed error each, and little memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import pytest
import zstandard

from argosy.coding.decoder import decoded, read_table
from argosy.coding.formats import format_of
from argosy.coding.frames import FRAME_BYTES
from argosy.derived import Encoding
from argosy.errors import ChecksumMismatch, ExpansionTooLarge, IntegrityError

from .made import ENCODINGS, CountedObject, forged, mixed, noise, object_of, records, stored_for
from .memory import MIB, little_memory

GIB = 1024 * MIB
either = pytest.mark.parametrize("encoding", ENCODINGS)


def outcome(stored: bytes, encoding: Encoding, size: int) -> bytes | None:
    """The file, or None for a typed error; anything else is raised."""
    try:
        return CountedObject(stored, encoding, size).content()
    except IntegrityError as error:
        assert "cargo.bin" in error.message
        return None


def flipped(stored: bytes, bit: int) -> bytes:
    changed = bytearray(stored)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@either
@pytest.mark.parametrize(
    "data", [b"", b"a", records(700), noise(300)], ids=["empty", "one", "text", "noise"]
)
def test_every_flipped_bit(encoding: Encoding, data: bytes) -> None:
    stored = stored_for(data, encoding)
    with little_memory():
        found = [
            outcome(flipped(stored, bit), encoding, len(data)) for bit in range(8 * len(stored))
        ]
    assert set(found) <= {data, None}
    assert None in found


def test_every_flipped_bit_of_two_frames() -> None:
    data = bytes(FRAME_BYTES) + b"the rest"
    stored = stored_for(data, "zstd")
    for bit in range(8 * len(stored)):
        assert outcome(flipped(stored, bit), "zstd", len(data)) in (data, None)


@either
def test_flipped_bits_of_the_bytes_themselves(encoding: Encoding) -> None:
    """What cannot be compressed lies there as it is: a flip there must be found."""
    data = noise(50_000)
    stored = stored_for(data, encoding)
    for bit in range(8 * 100, 8 * 49_000, 4001):
        with pytest.raises(ChecksumMismatch, match=r"cargo\.bin is damaged"):
            CountedObject(flipped(stored, bit), encoding, len(data)).content(60, 10)


@either
def test_truncated(encoding: Encoding) -> None:
    data = records(3000)
    stored = stored_for(data, encoding)
    for length in range(len(stored)):
        with pytest.raises(ChecksumMismatch):
            CountedObject(stored[:length], encoding, len(data)).content()


@either
def test_cut_short_once_the_table_was_read(encoding: Encoding) -> None:
    stored = object_of(mixed(FRAME_BYTES + 10_000), encoding)
    table = stored.table()
    stored.stored = stored.stored[: table.stored - 10]
    blocks = decoded(table, encoding, stored.get, 0, stored.size, name="cargo.bin")
    with pytest.raises(ChecksumMismatch, match=r"cargo\.bin is damaged .* cut short"):
        list(blocks)


@either
def test_a_table_that_comes_short(encoding: Encoding) -> None:
    stored = object_of(records(3000), encoding)

    def read(offset: int, length: int) -> bytes:
        return stored.read(offset, length - 12)

    with pytest.raises(ChecksumMismatch, match="table of frames is cut short"):
        read_table(encoding, read, len(stored.stored), stored.size)


@either
def test_damage_ends_the_reading(encoding: Encoding) -> None:
    """The error keeps its frames alive; the connection must not live on in them."""
    stored = object_of(noise(FRAME_BYTES + 1), encoding)
    table, ended = stored.table(), []
    stored.stored = flipped(stored.stored, 8 * 1_000_000)

    def get(offset: int, length: int) -> Iterator[bytes]:
        try:
            yield from stored.get(offset, length)
        finally:
            ended.append(True)

    with pytest.raises(ChecksumMismatch, match="frame 0") as caught:
        list(decoded(table, encoding, get, 0, stored.size))
    assert ended
    assert caught.tb.tb_next is not None


@either
def test_longer_than_it_should_be(encoding: Encoding) -> None:
    data = records(3000)
    for extra in (b"x" + stored_for(data, encoding), stored_for(data, encoding) + b"x"):
        with pytest.raises(ChecksumMismatch):
            CountedObject(extra, encoding, len(data)).table()


@either
@pytest.mark.parametrize("size", [0, 1, 2999, 3001, FRAME_BYTES + 3000, 5 * 1024**4])
def test_of_another_size(encoding: Encoding, size: int) -> None:
    with pytest.raises(ChecksumMismatch):
        CountedObject(stored_for(records(3000), encoding), encoding, size).table()


@either
def test_one_encoding_is_not_the_other(encoding: Encoding) -> None:
    other = next(one for one in ENCODINGS if one != encoding)
    with pytest.raises(ChecksumMismatch, match="table"):
        CountedObject(stored_for(records(3000), other), encoding, 3000).table()


Lie = Callable[[Encoding], tuple[bytes, int]]


def _frames(encoding: Encoding) -> list[bytes]:
    encode = format_of(encoding).encoder(3)
    return [encode(bytes(FRAME_BYTES)), encode(b"the rest")]


def too_small(encoding: Encoding) -> tuple[bytes, int]:
    """The sum is right, the frames are not."""
    return forged(encoding, _frames(encoding), [FRAME_BYTES - 1, 9]), FRAME_BYTES + 8


def too_large(encoding: Encoding) -> tuple[bytes, int]:
    return forged(encoding, _frames(encoding), [FRAME_BYTES + 8, 0]), FRAME_BYTES + 8


def too_many(encoding: Encoding) -> tuple[bytes, int]:
    return forged(encoding, [*_frames(encoding), b""], [FRAME_BYTES, 8, 0]), FRAME_BYTES + 8


def too_few(encoding: Encoding) -> tuple[bytes, int]:
    return forged(encoding, _frames(encoding)[:1], [FRAME_BYTES]), FRAME_BYTES + 8


def an_empty_frame(encoding: Encoding) -> tuple[bytes, int]:
    return forged(encoding, [b"".join(_frames(encoding)), b""], [FRAME_BYTES, 8]), FRAME_BYTES + 8


def padded(encoding: Encoding) -> tuple[bytes, int]:
    """A frame of 8 bytes that takes a megabyte."""
    return forged(encoding, [_frames(encoding)[1] + bytes(MIB)], [8]), 8


@either
@pytest.mark.parametrize("lie", [an_empty_frame, padded, too_few, too_large, too_many, too_small])
def test_tables_that_lie(encoding: Encoding, lie: Lie) -> None:
    stored, size = lie(encoding)
    with pytest.raises(ChecksumMismatch, match=r"cargo\.bin .* table"):
        CountedObject(stored, encoding, size).table()


@either
def test_a_billion_frames(encoding: Encoding) -> None:
    """Nothing is read for them: there is no room for their table."""
    asked: list[int] = []

    def read(_offset: int, length: int) -> bytes:
        asked.append(length)
        return bytes(length)

    with little_memory(2 * MIB), pytest.raises(ChecksumMismatch, match="no room"):
        read_table(encoding, read, 100 * MIB, 10**9 * FRAME_BYTES)
    assert not asked


def test_a_table_that_says_a_billion() -> None:
    stored = bytearray(stored_for(records(3000), "zstd"))
    stored[-9:-5] = struct.pack("<I", 10**9)
    with little_memory(2 * MIB), pytest.raises(ChecksumMismatch, match="no table"):
        CountedObject(bytes(stored), "zstd", 3000).table()


def zstd_streamed() -> bytes:
    """A GiB of zeros, and no word of it in the header."""
    return _zstd(-1)


def zstd_honest() -> bytes:
    """A header that says what is there."""
    return _zstd(GIB)


def zstd_lying() -> bytes:
    """A header that says 4 MiB."""
    streamed = bytearray(_zstd(-1))
    window_descriptor = streamed[5:6]
    streamed[4] |= 0b1000_0000  # the size is there, in four bytes
    streamed[5:6] = bytes(window_descriptor) + struct.pack("<I", FRAME_BYTES)
    assert zstandard.get_frame_parameters(bytes(streamed)).content_size == FRAME_BYTES
    return bytes(streamed)


def zstd_two() -> bytes:
    """As large as it should be, and another frame behind it."""
    return format_of("zstd").encoder(3)(bytes(FRAME_BYTES)) + zstd_honest()


def _zstd(size: int) -> bytes:
    settings = zstandard.ZstdCompressionParameters.from_level(
        1, window_log=20, write_checksum=True, write_content_size=size > 0
    )
    compressor = zstandard.ZstdCompressor(compression_params=settings).compressobj(size=size)
    pieces = [compressor.compress(bytes(MIB)) for _ in range(1024)]
    return b"".join([*pieces, compressor.flush()])


def gzip_bomb() -> bytes:
    """A GiB of zeros, and the size it should have at its end."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    mebibyte = deflate.compress(bytes(MIB)) + deflate.flush(zlib.Z_FULL_FLUSH)
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
    return header + mebibyte * 1024 + b"\x03\x00" + struct.pack("<II", 0, FRAME_BYTES)


@pytest.mark.parametrize(
    ("encoding", "bomb", "error"),
    [
        ("gzip", gzip_bomb, ExpansionTooLarge),
        ("zstd", zstd_honest, ExpansionTooLarge),
        ("zstd", zstd_lying, ExpansionTooLarge),
        ("zstd", zstd_streamed, ExpansionTooLarge),
        ("zstd", zstd_two, ExpansionTooLarge),
    ],
)
def test_bombs(encoding: Encoding, bomb: Callable[[], bytes], error: type[Exception]) -> None:
    stored = CountedObject(forged(encoding, [bomb()], [FRAME_BYTES]), encoding, FRAME_BYTES)
    with little_memory(), pytest.raises(error, match=r"cargo\.bin .* frame 0"):
        stored.content(0, 1)


@either
def test_frames_that_have_less(encoding: Encoding) -> None:
    frame = format_of(encoding).encoder(3)(b"short")
    with pytest.raises(ChecksumMismatch, match="5 bytes"):
        CountedObject(forged(encoding, [frame], [6]), encoding, 6).content()


def test_members_that_have_less_than_one_frame() -> None:
    encode = format_of("gzip").encoder(3)
    stored = forged("gzip", [encode(b"abc") + encode(b"def")], [6])
    with pytest.raises(ChecksumMismatch, match="ends elsewhere"):
        CountedObject(stored, "gzip", 6).content()


def test_zstd_without_a_checksum() -> None:
    """A frame without one could be damaged, and nobody who reads a range would know."""
    frame = zstandard.ZstdCompressor(write_checksum=False).compress(b"cargo")
    with pytest.raises(ChecksumMismatch, match="no checksum"):
        CountedObject(forged("zstd", [frame], [5]), "zstd", 5).content()


def test_zstd_that_needs_a_large_window() -> None:
    """A window of 128 MiB is memory that the frame asks for."""
    settings = zstandard.ZstdCompressionParameters(
        window_log=27, write_checksum=True, write_content_size=False
    )
    compressor = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    frame = compressor.compress(b"cargo") + compressor.flush()
    assert zstandard.get_frame_parameters(frame).window_size > FRAME_BYTES
    with pytest.raises(ChecksumMismatch, match="zstd says"):
        CountedObject(forged("zstd", [frame], [5]), "zstd", 5).content()
