"""A picture as it is to be seen, and its encodings in several sizes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image

from argosy.errors import TooManyPixels
from media.shrinking import fitted
from media.thumbnail import Thumbnail, ThumbnailOptions

PLAIN = {"webp": "WEBP", "jpeg": "JPEG", "png": "PNG", "avif": "AVIF"}


@dataclass(frozen=True)
class Picture:
    """Upright, in sRGB, as RGB or RGBA; `size` is what it had before it was made smaller."""

    image: Image.Image
    size: tuple[int, int]


def check_pixels(width: int, height: int, pixels: int) -> None:
    """Refuse to decode a picture of this size if it is larger than `pixels`.

    Raises:
        TooManyPixels: It is.
    """
    if width * height > pixels:
        raise TooManyPixels(
            f"The picture has {width} x {height} pixels: more than {pixels:,} are not decoded"
        )


def thumbnails_of(picture: Picture, options: ThumbnailOptions) -> list[Thumbnail]:
    """One thumbnail of each size, the largest first, each made from the one before."""
    image = picture.image
    made = []
    for edge in sorted(set(options.sizes), reverse=True):
        size = fitted(picture.size, edge)
        if image.size != size:
            image = image.resize(size, Image.Resampling.LANCZOS)
        made.append(_thumbnail(edge, image, options))
    return made


def _thumbnail(edge: int, image: Image.Image, options: ThumbnailOptions) -> Thumbnail:
    data = _encoded(image, options)
    return Thumbnail(edge, image.width, image.height, f"image/{options.format}", data)


def _encoded(image: Image.Image, options: ThumbnailOptions) -> bytes:
    """The picture's own pixels and nothing else: no EXIF, no profile (sRGB needs none)."""
    if options.format == "jpeg" and image.mode == "RGBA":
        image = _on_white(image)
    image = image.copy()
    image.info.clear()
    file = io.BytesIO()
    image.save(file, PLAIN[options.format], **_how(options))
    return file.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _how(options: ThumbnailOptions) -> dict[str, Any]:
    """One thread each: what is encoded must not depend on the machine."""
    if options.format == "png":
        return {"compress_level": 6}
    if options.format == "webp":
        return {"quality": options.quality, "method": 4}
    if options.format == "avif":
        return {"quality": options.quality, "speed": 6, "max_threads": 1}
    return {"quality": options.quality, "optimize": True}
