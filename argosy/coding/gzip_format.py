"""Members of gzip (RFC 1952), and a table of them in the extra fields of empty members.

Every frame is a member of its own. Behind them come members that hold no bytes of the file,
so that every reader of gzip gives the file: each has up to 8,191 entries in its extra field,
in a subfield `AT`, an entry being the compressed and the decompressed size of a frame in
four bytes each. The last member, of 42 bytes, has a subfield `AE`: the offset in the object at
which the table begins, and the number of frames, in eight bytes each. All numbers are
little-endian. No member has a name or a time, and none says on which system it was made:
the same bytes give the same object.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

from argosy.coding.damage import FrameDamaged, FrameTooLarge
from argosy.coding.frames import Frame, FrameTable

_MAGIC = b"\x1f\x8b\x08"
_HAS_EXTRA = 4
_UNKNOWN_SYSTEM = 255
_RAW_DEFLATE = -15
_GZIP = 31
_HIGHEST_LEVEL = 9

_HEADER = struct.Struct("<3sBIBB")
_TRAILER = struct.Struct("<II")
_SUBFIELD = struct.Struct("<H2sH")
"""The length of all subfields, of which there is one: its name, its length."""
_ENTRY = struct.Struct("<II")
_END = struct.Struct("<QQ")
_NOTHING = b"\x03\x00"
"""Deflate's way to say that there are no bytes."""

_ENTRIES_NAME = b"AT"
_END_NAME = b"AE"
_EXTRA_BYTES = 65_535
_MOST_ENTRIES = (_EXTRA_BYTES - 4) // _ENTRY.size
_AROUND = _HEADER.size + _SUBFIELD.size + len(_NOTHING) + _TRAILER.size
"""Bytes of an empty member beside what its subfield has."""


class GzipFormat:
    """Each frame has a CRC-32 and its size at its end, as gzip has it."""

    def encoder(self, level: int) -> Callable[[bytes | memoryview], bytes]:
        """What makes a frame; a level above gzip's highest, 9, is that one."""
        return lambda block: _encode(block, min(level, _HIGHEST_LEVEL))

    def decoder(self) -> Callable[[bytes | bytearray, int], bytes]:
        """What makes so many bytes of a frame."""
        return _decode

    def table(self, frames: FrameTable) -> bytes:
        """The table as it is stored."""
        packed = b"".join(_ENTRY.pack(frame.stored, frame.size) for frame in frames)
        step = _MOST_ENTRIES * _ENTRY.size
        members = [
            _empty_member(_ENTRIES_NAME, packed[first : first + step])
            for first in range(0, len(packed), step)
        ]
        return b"".join([*members, _empty_member(_END_NAME, _END.pack(frames.stored, len(frames)))])

    def table_length(self, count: int) -> int:
        """Bytes of the table of so many frames."""
        members = -(-count // _MOST_ENTRIES)
        return members * _AROUND + count * _ENTRY.size + _AROUND + _END.size

    def entries(self, raw: bytes, count: int) -> Iterator[Frame]:
        """What a table says, true or not."""
        position, view = 0, memoryview(raw)
        for first in range(0, count, _MOST_ENTRIES):
            length = min(_MOST_ENTRIES, count - first) * _ENTRY.size
            begin = position + _HEADER.size + _SUBFIELD.size
            for stored, size in _ENTRY.iter_unpack(view[begin : begin + length]):
                yield Frame(stored, size)
            position += _AROUND + length


def _header(flags: int) -> bytes:
    return _HEADER.pack(_MAGIC, flags, 0, 0, _UNKNOWN_SYSTEM)


def _empty_member(name: bytes, data: bytes) -> bytes:
    subfield = _SUBFIELD.pack(len(data) + 4, name, len(data))
    return _header(_HAS_EXTRA) + subfield + data + _NOTHING + _TRAILER.pack(0, 0)


def _encode(block: bytes | memoryview, level: int) -> bytes:
    deflate = zlib.compressobj(level, zlib.DEFLATED, _RAW_DEFLATE)
    body = [deflate.compress(block), deflate.flush()]
    return b"".join([_header(0), *body, _TRAILER.pack(zlib.crc32(block), len(block))])


def _decode(raw: bytes | bytearray, size: int) -> bytes:
    """All of one frame; zlib checks its CRC. Raises FrameTooLarge, FrameDamaged."""
    inflate = zlib.decompressobj(_GZIP)
    try:
        plain = inflate.decompress(raw, size + 1)
    except zlib.error as error:
        raise FrameDamaged(f"zlib says: {error}") from error
    if len(plain) > size:
        raise FrameTooLarge
    if not inflate.eof or inflate.unused_data:
        raise FrameDamaged("it ends elsewhere than its table says")
    if len(plain) < size:
        raise FrameDamaged(f"it decodes to {len(plain)} bytes")
    return plain
