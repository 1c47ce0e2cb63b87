"""Pictures by Pillow: only of allowed formats, no larger than allowed, whole."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import (
    AvifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    UnidentifiedImageError,
)

from argosy.errors import DamagedFile
from media.colours import to_srgb
from media.picture import Picture, check_pixels
from media.shrinking import fitted, shrunk

ORIENTATION = 0x0112
UPRIGHT = 1
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation (CIPA DC-008, 4.6.5.1.7)."""
FIRST_SIDEWAYS = 5
DRAFT_GAP = 1.5
"""A JPEG is decoded at the smallest scale (1/2, 1/4, 1/8) that leaves this much to Lanczos."""

WEBP_BYTES = 16
"""Of each pixel of a WebP: two frames, the one handed over, and Pillow's own."""

# Ours is asked before anything is decoded, and says which picture; Pillow's only warns first.
Image.MAX_IMAGE_PIXELS = None
# A thread's stack counts as memory of the process, and its work as processor time.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def still(file: BinaryIO, name: str, edge: int, *, pixels: int, allow_truncated: bool) -> Picture:
    """The picture (an animation's first frame) in `file`, of Pillow's format `name`.

    Raises:
        DamagedFile: It is no such picture, or it is cut short.
        TooManyPixels: It has more than `pixels`.
    """
    if name == "WEBP":
        _check_webp(file, pixels)
    with _truncated(allowed=allow_truncated), _opened(file, name) as image:
        check_pixels(*image.size, pixels)
        size = _decode(image, edge)
        turn = _orientation(image)
        small = to_srgb(shrunk(image, fitted(size, edge)), image.info.get("icc_profile"))
    if turn in TURNS:
        small = small.transpose(TURNS[turn])
    return Picture(small, size if turn < FIRST_SIDEWAYS else size[::-1])


def _opened(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    try:
        return Image.open(file, formats=[name])
    except UnidentifiedImageError as error:
        raise DamagedFile(f"The file begins like {name}, but cannot be read as that") from error


def _decode(image: ImageFile.ImageFile, edge: int) -> tuple[int, int]:
    """Decode, a JPEG no finer than needed; the size it has without that."""
    size = image.size
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        width, height = fitted(size, edge)
        image.draft(None, (round(width * DRAFT_GAP), round(height * DRAFT_GAP)))
        image.load()
        return size
    image.load()
    return image.size  # A TIFF turns itself as it is loaded.


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1 also where EXIF is damaged or says nothing: no picture is the worse for it."""
    try:
        found = image.getexif().get(ORIENTATION)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return UPRIGHT
    return found if found in TURNS else UPRIGHT


@contextmanager
def _truncated(*, allowed: bool) -> Iterator[None]:
    """Whether a picture of which the end is missing is one, inside."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = allowed
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _check_webp(file: BinaryIO, pixels: int) -> None:
    """Its decoder takes memory for two frames as it is opened: look first (RFC 9649, 2.4-2.7)."""
    file.seek(0)
    head = file.read(30)
    if len(head) < 30:
        raise DamagedFile("The file ends inside the header of a WebP picture")
    if head[12:16] == b"VP8X":
        size = int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    elif head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        size = (
            int.from_bytes(head[26:28], "little") & 0x3FFF,
            int.from_bytes(head[28:30], "little") & 0x3FFF,
        )
    check_pixels(*size, pixels)
    bytearray(WEBP_BYTES * size[0] * size[1])  # A MemoryError says more than its decoder would.
