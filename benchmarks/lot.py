"""Many files of one size, whose bytes are new for whoever moves them next."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_FRESH = 16
"""Bytes at the beginning that are written anew."""


@dataclass(frozen=True)
class Lot:
    """So many files in a round; one by one, the fleet is asked for no more than `by_one`.

    Fleets of unusual sizes are asked for no more than `elsewhere`.
    """

    size: int
    count: int
    by_one: int
    elsewhere: int


def fill(folder: Path, size: int, count: int) -> Sequence[Path]:
    """Make them, or see that there are so many; in a folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:05d}.bin" for number in range(count)]
    for path in paths:
        if not path.exists():
            path.write_bytes(os.urandom(size))
    return paths


def freshen(paths: Sequence[Path]) -> None:
    """Give each other bytes: nobody may know it from the last time."""
    for path in paths:
        with path.open("r+b") as file:
            file.write(os.urandom(_FRESH))
