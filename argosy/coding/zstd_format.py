"""Frames of Zstandard, and their table in the Zstandard Seekable Format.

The table is a skippable frame at the end of the object, so that every reader of zstd gives
the file: magic number and length; for each frame its compressed and its decompressed size;
then the number of frames, a byte of flags and a second magic number. All numbers are
little-endian, four bytes each. See `contrib/seekable_format` of github.com/facebook/zstd.
The flags are 0: our table has no checksums, since every frame has its own.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator

from zstandard import (
    CONTENTSIZE_UNKNOWN,
    ZstdCompressor,
    ZstdDecompressor,
    ZstdError,
    get_frame_parameters,
)

from argosy.coding.damage import FrameDamaged, FrameTooLarge
from argosy.coding.frames import FRAME_BYTES, Frame, FrameTable

_SKIPPABLE = 0x184D2A5E
_SEEKABLE = 0x8F92EAB1
_NO_FLAGS = 0
_BUFFER_BYTES = 64 * 1024

_HEADER = struct.Struct("<II")
_ENTRY = struct.Struct("<II")
_FOOTER = struct.Struct("<IBI")


class ZstdFormat:
    """Each frame says how large it is, and has a checksum (XXH64, as zstd keeps it)."""

    def encoder(self, level: int) -> Callable[[bytes | memoryview], bytes]:
        """What makes a frame. It uses no threads of its own: their number would show."""
        compressor = ZstdCompressor(
            level=level, write_content_size=True, write_checksum=True, write_dict_id=False
        )
        return compressor.compress

    def decoder(self) -> Callable[[bytes | bytearray, int], bytes]:
        """What makes so many bytes of a frame."""
        decompressor = ZstdDecompressor(max_window_size=FRAME_BYTES)
        return lambda raw, size: _decode(decompressor, raw, size)

    def table(self, frames: FrameTable) -> bytes:
        """The table as it is stored."""
        entries = b"".join(_ENTRY.pack(frame.stored, frame.size) for frame in frames)
        header = _HEADER.pack(_SKIPPABLE, len(entries) + _FOOTER.size)
        return header + entries + _FOOTER.pack(len(frames), _NO_FLAGS, _SEEKABLE)

    def table_length(self, count: int) -> int:
        """Bytes of the table of so many frames."""
        return _HEADER.size + count * _ENTRY.size + _FOOTER.size

    def entries(self, raw: bytes, count: int) -> Iterator[Frame]:
        """What a table says, true or not."""
        end = _HEADER.size + count * _ENTRY.size
        for stored, size in _ENTRY.iter_unpack(memoryview(raw)[_HEADER.size : end]):
            yield Frame(stored, size)


def _decode(decompressor: ZstdDecompressor, raw: bytes | bytearray, size: int) -> bytes:
    """All of one frame. Raises FrameTooLarge, FrameDamaged."""
    try:
        _check_header(raw, size)
        plain = decompressor.decompress(raw, max_output_size=size, allow_extra_data=False)
    except ZstdError as error:
        if _is_more(raw, size):
            raise FrameTooLarge from error
        raise FrameDamaged(f"zstd says: {error}") from error
    if len(plain) != size:
        raise FrameDamaged(f"it decodes to {len(plain)} bytes")
    return plain


def _check_header(raw: bytes | bytearray, size: int) -> None:
    """Before anything is allocated: zstd would allocate what the frame says it needs.

    A frame that does not say its size is given `size` bytes, and fails if it has more.
    """
    parameters = get_frame_parameters(raw)
    if parameters.content_size not in (size, CONTENTSIZE_UNKNOWN):
        if parameters.content_size > size:
            raise FrameTooLarge
        raise FrameDamaged(f"it says that it has {parameters.content_size} bytes")
    if not parameters.has_checksum:
        raise FrameDamaged("it has no checksum")


def _is_more(raw: bytes | bytearray, size: int) -> bool:
    """Whether a frame that cannot be decoded to `size` bytes would have more than these.

    In small buffers: for one that has room for all that the frame says of itself, zstd gives
    all or nothing.
    """
    decompressor = ZstdDecompressor(max_window_size=FRAME_BYTES)
    buffer, found = bytearray(_BUFFER_BYTES), 0
    with decompressor.stream_reader(io.BytesIO(raw), read_across_frames=True) as reader:
        try:
            while found <= size and (count := reader.readinto(buffer)):
                found += count
        except ZstdError:  # damaged before it came to more
            return False
    return found > size
