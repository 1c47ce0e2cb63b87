"""Pictures like a camera's, and plain Pillow, which makes them small."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageChops

SIZE = (4000, 3000)
QUALITY = 90
"""Of JPEG: with this noise a file has some 4 MB."""

_TILE = (1000, 750)
_COARSE = (500, 375)
_SIGMA = 60.0
_SOFT, _GRAIN = 0.35, 0.15
"""Shares of soft shapes and of noise in a channel."""


def make_pictures(folder: Path, count: int) -> list[Path]:
    """So many JPEGs, each another picture; they stay in the page cache."""
    folder.mkdir()
    grain = _grain()
    return [_write(folder / f"picture-{number}.jpg", number, grain) for number in range(count)]


def shrink(paths: Sequence[Path], into: Path, edges: Sequence[int], kind: str, q: int) -> float:
    """As Pillow's manual has it; each size is made of the one before. CPU-seconds of it."""
    before = time.thread_time()
    for path in paths:
        with Image.open(path) as image:
            for edge in edges:
                image.thumbnail((edge, edge))
                image.save(into / f"{path.stem}-{edge}.{kind}", quality=q)
    return time.thread_time() - before


def size_of(path: Path, kind: str) -> tuple[int, int]:
    """Pixels of a picture that must be of this format."""
    with Image.open(path, formats=[kind]) as image:
        return image.size


def _grain() -> Image.Image:
    """A sensor's noise; JPEG does not see that it repeats itself."""
    grain, tile = Image.new("L", SIZE), Image.effect_noise(_TILE, _SIGMA)
    for left in range(0, SIZE[0], _TILE[0]):
        for top in range(0, SIZE[1], _TILE[1]):
            grain.paste(tile, (left, top))
    return grain


def _write(path: Path, number: int, grain: Image.Image) -> Path:
    bands = [_band(3 * number + channel, grain) for channel in range(3)]
    Image.merge("RGB", bands).save(path, "JPEG", quality=QUALITY)
    return path


def _band(number: int, grain: Image.Image) -> Image.Image:
    """One channel; the noise is the same for all, moved so that no two fall together."""
    ramp = Image.radial_gradient("L") if number % 3 else Image.linear_gradient("L")
    slow = ramp.rotate(37 * number).resize(SIZE, Image.Resampling.BICUBIC)
    shapes = Image.effect_noise(_COARSE, _SIGMA).resize(SIZE, Image.Resampling.BICUBIC)
    moved = ImageChops.offset(grain, 131 * number, 197 * number)
    return Image.blend(Image.blend(slow, shapes, _SOFT), moved, _GRAIN)
