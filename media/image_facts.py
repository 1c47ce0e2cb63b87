"""What a picture's header says: no pixel is decoded.

Pillow's own check of the number of pixels is in `Image.open` and is not called here: how
large a picture says it is, is a fact; who decodes it refuses.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

from PIL import Image, ImageCms, ImageFile

from argosy.facts import ImageFacts
from media.exif import exif_of, orientation_of, private_of
from media.frames import Frames, gif_frames, tiff_frames
from media.problem import Unreadable
from media.reader import Reader
from media.webp_header import webp_header
from media.words import count, word

ONE = Frames(1, more=False)
AVIF_HEAD = 1024 * 1024
AVIF_LARGEST = 64 * 1024 * 1024
MAX_PROFILE = 4 * 1024 * 1024


@dataclass
class Header:
    """What was found, whichever way the format is read."""

    width: int
    height: int
    mode: str
    frames: Frames = ONE
    profile: bytes | None = None
    exif: Image.Exif = field(default_factory=Image.Exif)


def image_facts(reader: Reader, content_type: str, *, private: bool) -> ImageFacts | None:
    """Facts of a picture; None for formats of which only the type is told.

    Raises Unreadable for a damaged one, and whatever Pillow makes of hostile bytes.
    """
    read = READERS.get(content_type)
    if read is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd EXIF that we leave out
        return _facts(read(reader), private=private)


def _facts(header: Header, *, private: bool) -> ImageFacts:
    return ImageFacts(
        width=header.width,
        height=header.height,
        mode=word(header.mode),
        frames=header.frames.number,
        more_frames=header.frames.more,
        orientation=orientation_of(header.exif),
        colour_profile=_profile_name(header.profile),
        exif=exif_of(header.exif),
        private=private_of(header.exif) if private else None,
    )


def _opened(name: str, file: Reader | io.BytesIO) -> ImageFile.ImageFile:
    """The picture as Pillow's reader of that one format sees it, its header read."""
    Image.init()
    file.seek(0)
    factory, _ = Image.OPEN[name]
    try:
        return factory(file, "")  # type: ignore[arg-type]  # Reader is a binary file in all but name
    except SyntaxError as damage:  # Pillow's word for it, with its reason
        raise Unreadable(f"The {name} header is damaged: {damage}.") from damage
    except (IndexError, TypeError, KeyError) as damage:
        raise Unreadable(f"The {name} header is damaged.") from damage


def _with_pillow(name: str) -> Callable[[Reader], Header]:
    def read(reader: Reader) -> Header:
        image = _opened(name, reader)
        frames = Frames(count(getattr(image, "n_frames", 1)) or 1, more=False)
        return _header(image, image.getexif(), frames)

    return read


def _header(image: ImageFile.ImageFile, exif: Image.Exif, frames: Frames) -> Header:
    profile = image.info.get("icc_profile")
    return Header(*image.size, image.mode, frames, profile, exif)


def _jpeg(reader: Reader) -> Header:
    """A file of several pictures (MPO) is a picture with attachments: its first one counts."""
    image = _opened("JPEG", reader)
    return _header(image, image.getexif(), ONE)


def _png(reader: Reader) -> Header:
    """`getexif` would decode the pixels to look behind them: only what stands before counts."""
    image = _opened("PNG", reader)
    frames = Frames(count(getattr(image, "n_frames", 1)) or 1, more=False)
    return _header(image, _loaded(image.info.get("exif")), frames)


def _gif(reader: Reader) -> Header:
    screen = reader.at(6, 4)
    if len(screen) < 4:
        raise Unreadable("The GIF ends within its header.")
    width, height = int.from_bytes(screen[:2], "little"), int.from_bytes(screen[2:], "little")
    return Header(width, height, "P", gif_frames(reader))


def _webp(reader: Reader) -> Header:
    try:
        found = webp_header(reader)
    except ValueError as damage:
        raise Unreadable(f"The WebP header is damaged: {damage}.") from damage
    mode = "RGBA" if found.alpha else "RGB"
    frames, profile = Frames(found.frames, found.more), found.parts.get(b"ICCP")
    return Header(
        found.width, found.height, mode, frames, profile, _loaded(found.parts.get(b"EXIF"))
    )


def _tiff(reader: Reader) -> Header:
    """Pillow turns a TIFF's size by its orientation: the size as stored is in the tags."""
    image = _opened("TIFF", reader)
    found = _header(image, image.getexif(), tiff_frames(reader))
    tags: dict[int, int] = getattr(image, "tag_v2", {})
    found.width, found.height = int(tags[0x0100]), int(tags[0x0101])
    return found


def _avif(reader: Reader) -> Header:
    """The decoder wants the whole file; behind its first MiB it is given zeros."""
    if reader.size > AVIF_LARGEST:
        raise Unreadable("The AVIF is larger than 64 MiB: its header was not read.")
    head = reader.at(0, AVIF_HEAD)
    image = _opened("AVIF", io.BytesIO(head + bytes(reader.size - len(head))))
    frames = Frames(count(getattr(image, "n_frames", 1)) or 1, more=False)
    return _header(image, _loaded(image.info.get("exif")), frames)


def _loaded(exif: bytes | None) -> Image.Exif:
    found = Image.Exif()
    if exif:
        found.load(exif)
    return found


def _profile_name(profile: bytes | None) -> str | None:
    if not profile or len(profile) > MAX_PROFILE:
        return None
    try:
        return word(ImageCms.getProfileDescription(io.BytesIO(profile)))
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # a damaged profile is no profile


READERS: dict[str, Callable[[Reader], Header]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/tiff": _tiff,
    "image/bmp": _with_pillow("BMP"),
    "image/avif": _avif,
}
"""The formats whose headers are read; of every other picture only the type is told."""
