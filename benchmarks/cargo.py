"""The files that are moved: made once, mostly of random bytes, compared when they come back."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import MIB


class BenchmarkFailed(Exception):
    """A figure could not be taken; the message says why."""


@dataclass(frozen=True)
class Cargo:
    """A file and what its bytes must be."""

    path: Path
    size: int
    sha256: str
    md5: str
    kind: str = ""
    """Of its bytes, where they are not random."""

    def must_equal(self, other: Path) -> None:
        """Raise BenchmarkFailed unless the other file has the same bytes."""
        with other.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.sha256:
            raise BenchmarkFailed(f"{other.name} came back with other bytes than were sent")


def make_cargo(folder: Path, name: str, size: int) -> Cargo:
    """Write a file of random bytes; it stays in the page cache."""
    return write_cargo(folder / name, (os.urandom(min(MIB, size - n)) for n in range(0, size, MIB)))


def write_cargo(path: Path, blocks: Iterable[bytes], kind: str = "") -> Cargo:
    """Write a file of these blocks, of which `kind` they are."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("wb") as file:
        for block in blocks:
            sha256.update(block)
            md5.update(block)
            file.write(block)
        size = file.tell()
    return Cargo(path, size, sha256.hexdigest(), md5.hexdigest(), kind)


def require_space(folder: Path, needed: int) -> None:
    """Raise BenchmarkFailed when the folder's disk has less free than is needed."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BenchmarkFailed(
            f"The benchmark needs {needed / 1e9:.1f} GB of free disk for its temporary files "
            f"and finds {free / 1e9:.1f} GB: free some, use --quick, or set TMPDIR."
        )
