"""Which decoder reads a file, by the type of its bytes: the allow-list of thumbnails.

Nothing is tried: a decoder gets the bytes of its own type and no other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Literal

from media.sniff import content_type_of

HEAD_BYTES = 4096
TAIL_BYTES = 2048


@dataclass(frozen=True)
class Decoder:
    """`name` is Pillow's of a picture format, or FFmpeg's of a video's container."""

    kind: Literal["picture", "video", "pdf"]
    name: str = ""


_PICTURES = {
    f"image/{name.lower()}": Decoder("picture", name)
    for name in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "AVIF")
}
_VIDEOS = {
    f"video/{name}": Decoder("video", container)
    for name, container in (
        *(("mp4", "mov"), ("quicktime", "mov"), ("3gpp", "mov"), ("3gpp2", "mov")),
        *(("webm", "matroska"), ("x-matroska", "matroska"), ("ogg", "ogg")),
        *(("x-flv", "flv"), ("mpeg", "mpeg"), ("mp2t", "mpegts")),
        *(("x-ms-asf", "asf"), ("x-msvideo", "avi")),
    )
}
DECODERS: Mapping[str, Decoder] = {
    **_PICTURES,
    **_VIDEOS,
    "application/ogg": Decoder("video", "ogg"),
    "application/pdf": Decoder("pdf"),
}


def decoder_of(file: BinaryIO, size: int) -> Decoder | None:
    """Who decodes this file of `size` bytes; None: nobody. The file then stands at its start."""
    head = file.read(min(size, HEAD_BYTES))
    tail = b""
    if b"%PDF-" in head[1:1024]:  # readers want it first; where it is not, the end decides
        file.seek(-min(size, TAIL_BYTES), os.SEEK_END)
        tail = file.read()
    file.seek(0)
    return DECODERS.get(content_type_of(head, tail))
