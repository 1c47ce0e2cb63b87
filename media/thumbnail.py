"""Small pictures of a picture, a video or a PDF.

The decoders are imported where they are first needed: who only asks for thumbnails (the
worker) never loads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

from argosy.errors import DamagedFile, DecoderStopped, MediaError, UnsupportedType
from media.decoders import Decoder, decoder_of
from media.source import TrafficExceeded

if TYPE_CHECKING:
    from media.picture import Picture

Format = Literal["webp", "jpeg", "png", "avif"]


@dataclass(frozen=True)
class ThumbnailOptions:
    """`sizes` are longest edges in pixels, `quality` is 1 to 100 (not of png).

    With `allow_truncated` a file that is cut short gives a picture of what is there.
    """

    sizes: tuple[int, ...]
    format: Format = "webp"
    quality: int = 80
    allow_truncated: bool = False


@dataclass(frozen=True)
class Thumbnail:
    """One encoded picture of `width` x `height`, made for the longest edge `edge`."""

    edge: int
    width: int
    height: int
    content_type: str
    data: bytes


def thumbnails(
    file: BinaryIO, size: int, options: ThumbnailOptions, *, pixels: int
) -> list[Thumbnail]:
    """Decode `file` of `size` bytes once and make a thumbnail of every size, never enlarged.

    Runs foreign code on a stranger's bytes: only a process that may die calls it (`Workshop`).

    Raises:
        UnsupportedType: No thumbnail is made of such bytes.
        DamagedFile: The bytes are cut short or are not what their type says.
        TooManyPixels: The picture has more than `pixels`, by its header.
        DecoderStopped: There was not memory enough.
    """
    try:
        return _made(file, size, options, pixels)
    except (MediaError, TrafficExceeded):
        raise
    except MemoryError as error:
        raise DecoderStopped("The decoder needed more memory than it may have") from error
    except Exception as error:  # Whatever a decoder raises, it raises because of the bytes.
        if "out of memory" in str(error):
            raise DecoderStopped("The decoder needed more memory than it may have") from error
        raise DamagedFile(f"The file is damaged: {error or type(error).__name__}") from error


def _made(file: BinaryIO, size: int, options: ThumbnailOptions, pixels: int) -> list[Thumbnail]:
    from media.picture import thumbnails_of

    decoder = decoder_of(file, size)
    if decoder is None:
        raise UnsupportedType("The bytes are no picture, video or PDF that thumbnails are made of")
    edge = max(options.sizes)
    return thumbnails_of(_picture(file, decoder, edge, options, pixels), options)


def _picture(
    file: BinaryIO, decoder: Decoder, edge: int, options: ThumbnailOptions, pixels: int
) -> Picture:
    if decoder.kind == "pdf":
        from media.pdf_page import first_page

        return first_page(file, edge, pixels=pixels)
    if decoder.kind == "video":
        from media.poster import poster

        return poster(file, decoder.name, edge, pixels=pixels)
    from media.still import still

    truncated = options.allow_truncated
    return still(file, decoder.name, edge, pixels=pixels, allow_truncated=truncated)
