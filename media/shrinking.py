"""Making a decoded picture small without ever holding it twice.

A picture of 90 megapixels with alpha takes 360 MB as it is decoded: what it needs before it
can be averaged (a palette looked up, colours multiplied by their alpha) is done band by band.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from PIL import Image

LARGEST_EDGE = 16_383
"""Of a WebP picture (RFC 9649, 2.7), and more than anybody calls a thumbnail."""
GAP = 2.0
"""Averaging whole blocks stops at this many times the wanted size: from there on Lanczos."""
BAND_PIXELS = 2_000_000
KEPT = ("L", "RGB", "CMYK", "LAB")
NUMBERS = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def fitted(size: tuple[int, int], edge: int) -> tuple[int, int]:
    """`size` made to fit a square of `edge`: never enlarged, never less than one pixel."""
    scale = min(1.0, min(edge, LARGEST_EDGE) / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrunk(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """`image` at `size` (no larger than it is) as L, RGB, RGBA, CMYK or LAB."""
    factor = max(1, int(min(image.width / size[0], image.height / size[1]) / GAP))
    small = _averaged(image, factor, _averageable(image))
    box = (0, 0, image.width / factor, image.height / factor)
    if small.size != size:
        small = small.resize(size, Image.Resampling.LANCZOS, box=box)
    return small.convert("RGBA") if small.mode == "RGBa" else small


def _averaged(
    image: Image.Image, factor: int, averageable: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """Means of `factor` x `factor` pixels."""
    rows = max(1, BAND_PIXELS // image.width // factor) * factor
    size = (math.ceil(image.width / factor), math.ceil(image.height / factor))
    small = Image.new(averageable(image.crop((0, 0, 1, 1))).mode, size)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        small.paste(averageable(band).reduce(factor), (0, top // factor))
    return small


def _averageable(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """What makes of a band of `image` one whose pixels have means."""
    if image.mode in NUMBERS:
        return _levels(image)
    if image.mode in ("RGBa", "La") or image.has_transparency_data:
        return lambda band: band.convert("RGBA").convert("RGBa")
    mode = "L" if image.mode == "1" else image.mode if image.mode in KEPT else "RGB"
    return lambda band: band.convert(mode)


def _levels(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Greys from numbers: of 16 bits by their upper eight, others by the largest there is."""
    low, high = _extrema(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and 255 < high < 65_536):
        low, high = 0.0, 65_535.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if image.mode == "F" and high <= 1 else 255.0
    scale = 255 / (high - low) if high > low else 0.0
    return lambda band: _as_float(band).point(lambda v: v * scale - low * scale).convert("L")


def _as_float(band: Image.Image) -> Image.Image:
    return band if band.mode == "F" else band.convert("I").convert("F")


def _extrema(image: Image.Image) -> tuple[float, float]:
    low, high = image.getextrema()
    finite = isinstance(low, int | float) and isinstance(high, int | float)
    if not finite or not (math.isfinite(low) and math.isfinite(high)):  # type: ignore[arg-type]
        # Pillow's type says a tuple for pictures of several bands: these have one.
        return 0.0, 1.0
    return float(low), float(high)  # type: ignore[arg-type]  # as above
