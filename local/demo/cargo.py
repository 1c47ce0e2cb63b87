"""What the demo carries: files that it makes, or one that the user names."""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

from local.demo.failed import DemoFailed

MIB = 1024 * 1024
_SKY, _SEA, _HULL, _SAIL = (252, 226, 186), (24, 86, 118), (92, 52, 30), (246, 240, 226)


@dataclass(frozen=True)
class Item:
    """A file in the spool."""

    path: Path

    @property
    def name(self) -> str:
        """Its name for people."""
        return self.path.name

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of its bytes, as they are on this disk."""
        return sha256_of(self.path)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def cargo(spool: Path, *, file: Path | None, size: int) -> Iterator[list[Item]]:
    """Put the cargo into a new folder of the spool, and remove that folder afterwards."""
    folder = spool / f"demo-{os.urandom(4).hex()}"
    folder.mkdir()
    try:
        yield [_take(file, folder)] if file else _make(folder, size)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check(file: Path) -> Path:
    """The real path of the user's file. Raises DemoFailed when it is none to be sent."""
    if not file.exists():
        raise DemoFailed(f"FILE {file} does not exist.")
    if not file.is_file():
        raise DemoFailed(f"FILE {file} is not a regular file: name a file, not a folder or device.")
    if not os.access(file, os.R_OK):
        raise DemoFailed(f"FILE {file} cannot be read: check its permissions.")
    return file.resolve()


def check_room(folder: Path, size: int) -> None:
    """Raise DemoFailed when source, stored object and what comes back do not fit."""
    needed, free = 3 * size + 256 * MIB, shutil.disk_usage(folder).free
    if free < needed:
        raise DemoFailed(
            f"{folder} has {free // MIB} MiB free and the demo needs {needed // MIB} MiB: "
            "name another folder with --data (make demo DATA=...)."
        )


def _take(file: Path, folder: Path) -> Item:
    try:
        os.link(file, folder / file.name)
    except OSError:  # on another disk, or the disk knows no links
        shutil.copyfile(file, folder / file.name)
    return Item(folder / file.name)


def _make(folder: Path, size: int) -> list[Item]:
    made = [folder / "cargo.bin", folder / "argosy.jpg", folder / "bill of lading.txt"]
    _random_bytes(made[0], size)
    _picture(made[1])
    _text(made[2])
    return [Item(path) for path in made]


def _random_bytes(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for offset in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - offset)))


def _picture(path: Path, width: int = 2400, height: int = 1600) -> None:
    """An argosy under sail, in the evening."""
    image = Image.linear_gradient("L").resize((width, height))
    image = Image.composite(
        Image.new("RGB", image.size, (226, 128, 92)), Image.new("RGB", image.size, _SKY), image
    )
    draw = ImageDraw.Draw(image)
    draw.ellipse((1500, 420, 1860, 780), fill=(255, 244, 208))
    _ship(draw)
    _waves(draw, width, height)
    image.filter(ImageFilter.SMOOTH).save(path, "JPEG", quality=92)


def _ship(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon([(560, 980), (1740, 980), (1560, 1240), (720, 1240)], fill=_HULL)
    for x, height in ((820, 430), (1120, 560), (1420, 400)):
        draw.line((x, 980, x, 980 - height - 60), fill=_HULL, width=16)
        draw.polygon([(x, 980 - height), (x + 230, 920), (x, 930)], fill=_SAIL)
        draw.polygon([(x - 16, 980 - height), (x - 150, 920), (x - 16, 930)], fill=_SAIL)


def _waves(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    for row in range(9):
        top, shade = 1140 + row * 52, row * 7
        crest = [(x, top + 22 * math.sin(x / 90 + row * 1.7)) for x in range(0, width + 20, 20)]
        colour = (_SEA[0], _SEA[1] - shade, _SEA[2] - shade)
        draw.polygon([(0, height), *crest, (width, height)], fill=colour)


def _text(path: Path, lines: int = 4000) -> None:
    """A bill of lading, with the letters of several languages."""
    goods = ("amber", "cinnamon", "Gewürz", "σιτάρι", "шёлк", "絹", "saffron", "çini", "🧂 salt")
    dice = random.Random(1)  # noqa: S311  the same text each time
    with path.open("w", encoding="utf-8") as file:
        for number in range(1, lines + 1):
            file.write(
                f"{number:05d}  {dice.choice(goods):<12} {dice.randrange(1, 900):>4} bales\n"
            )
