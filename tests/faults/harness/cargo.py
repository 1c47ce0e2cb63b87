"""The files that are sent: of many sizes, made from the seed, their checksums computed here."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.corpus.pictures import scene

MB = 1_000_000
THRESHOLD = 4 * MB
"""ARGOSY_CHUNK_THRESHOLD of a run: anything larger goes in parts."""
SMALL = (0, 1, 1_000, 65_537, 900_001)
MIDDLING = (THRESHOLD - 1, THRESHOLD, THRESHOLD + 1)
LARGE = (6 * MB, 11 * MB + 7, 17 * MB, 26 * MB + 1, 40 * MB, 60 * MB)
TEXTS = (30_000, 3 * MB, 20 * MB)


@dataclass(frozen=True)
class Source:
    """A file to send, and what it must come out as."""

    path: Path
    size: int
    sha256: str


class Cargo:
    """Every source of a run, by class."""

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        dice = Random(f"{seed}/cargo")
        self.small = [self._noise(size, dice) for size in SMALL]
        self.middling = [self._noise(size, dice) for size in MIDDLING]
        self.large = [self._noise(size, dice) for size in LARGE]
        self.texts = [self._write(f"text-{size}.txt", _text(size, dice)) for size in TEXTS]
        self.pictures = [self._picture(kind) for kind in ("jpeg", "png")]

    def _noise(self, size: int, dice: Random) -> Source:
        return self._write(f"noise-{size}.bin", _noise(size, dice))

    def _picture(self, kind: str) -> Source:
        file = io.BytesIO()
        scene().save(file, kind)
        return self._write(f"picture.{kind}", iter([file.getvalue()]))

    def _write(self, name: str, blocks: Iterator[bytes]) -> Source:
        path, digest, size = self._folder / name, hashlib.sha256(), 0
        with path.open("wb") as file:
            for block in blocks:
                file.write(block)
                digest.update(block)
                size += len(block)
        return Source(path, size, digest.hexdigest())


def _noise(size: int, dice: Random) -> Iterator[bytes]:
    for start in range(0, size, MB):
        yield dice.randbytes(min(MB, size - start))


def _text(size: int, dice: Random) -> Iterator[bytes]:
    lines = [" ".join(dice.choices(("cargo", "hold", "ledger", "quay"), k=9)) for _ in range(500)]
    text = "\n".join(f"{number} {line}" for number, line in enumerate(dice.choices(lines, k=9_999)))
    block = text.encode()
    while size > 0:
        yield block[:size]
        size -= len(block)


def sha256_of(path: Path) -> str:
    """The checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
