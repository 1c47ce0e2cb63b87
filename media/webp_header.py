"""The headers of a WebP file (RFC 9649), read without its decoder.

The library's own decoder wants the whole file and room for the whole canvas.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from media.reader import Reader

MAX_CHUNKS = 1000
MAX_PART = 1024 * 1024


@dataclass
class WebpHeader:
    """`parts` are the chunks ICCP and EXIF; with `more` there are frames that were not counted."""

    width: int = 0
    height: int = 0
    alpha: bool = False
    frames: int = 0
    more: bool = False
    parts: dict[bytes, bytes] = field(default_factory=dict)


def webp_header(reader: Reader) -> WebpHeader:
    """Size and extras. Raises ValueError for a file whose first chunk is no WebP's."""
    found = WebpHeader()
    at, seen = 12, 0
    while at + 8 <= reader.size:
        start = reader.at(at, 18)
        if seen == MAX_CHUNKS or len(start) < 8:
            found.more = True
            break
        name, length = start[:4], int.from_bytes(start[4:8], "little")
        if not seen:
            _measure(found, name, start[8:], reader.at(at + 8, 16))
        if name in {b"ICCP", b"EXIF"} and length <= MAX_PART:
            found.parts[name] = reader.at(at + 8, length)
        found.frames += name == b"ANMF"
        at, seen = at + 8 + length + (length & 1), seen + 1
    if not found.width:
        raise ValueError("no frame's header")
    found.frames = max(found.frames, 1)
    return found


def _measure(found: WebpHeader, name: bytes, canvas: bytes, frame: bytes) -> None:
    """The size by whichever of the three chunks comes first."""
    if name == b"VP8X" and len(canvas) >= 10:
        found.alpha = bool(canvas[0] & 0x10)
        found.width = int.from_bytes(canvas[4:7], "little") + 1
        found.height = int.from_bytes(canvas[7:10], "little") + 1
    elif name == b"VP8L" and frame[:1] == b"\x2f":
        bits = int.from_bytes(frame[1:5], "little")
        found.alpha = bool(bits >> 28 & 1)
        found.width, found.height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif name == b"VP8 " and frame[3:6] == b"\x9d\x01\x2a":
        found.width = int.from_bytes(frame[6:8], "little") & 0x3FFF
        found.height = int.from_bytes(frame[8:10], "little") & 0x3FFF
