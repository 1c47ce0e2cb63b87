"""A file as it is stored compressed, and the reference to it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from argosy.coding.encoder import encoded
from argosy.derived import Encoding, Stored
from argosy.reference import FileReference

from .stored import StoredObject, reference_to

MIB = 1024 * 1024
LINE = b"%09d;2026-01-02T03:04:05;Hamburg;cargo\n"


def make_table(path: Path, size: int) -> Path:
    """A file of lines that compresses well, of which no two are equal."""
    with path.open("wb") as file:
        block = b"".join(LINE % number for number in range(20_000))
        for number in range(-(-size // len(block))):
            file.write(b"%08d" % number + block[8:])
        file.truncate(size)
    return path


def make_mixed(path: Path, size: int) -> Path:
    """A file of which every other MiB does not compress at all."""
    with path.open("wb") as file:
        for number in range(-(-size // MIB)):
            file.write(os.urandom(MIB) if number % 2 else number.to_bytes(8, "big") * (MIB // 8))
        file.truncate(size)
    return path


def stored_encoded(
    content: Path, encoding: Encoding, bucket: str = "b"
) -> tuple[StoredObject, FileReference]:
    """The object that a file becomes, and a true reference to it."""
    made = content.with_name(f"{content.name}.{encoding}")
    with content.open("rb") as file, made.open("wb") as target:
        for block in encoded(iter(lambda: file.read(MIB), b""), encoding, 3):
            target.write(block)
    raw = made.read_bytes()
    return StoredObject(made), encoded_reference(content, raw, encoding, bucket)


def encoded_reference(
    content: Path, raw: bytes, encoding: Encoding, bucket: str = "b"
) -> FileReference:
    """A reference to `content`, that is stored as `raw`."""
    sums = Stored(
        size=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        md5=hashlib.md5(raw, usedforsecurity=False).hexdigest(),
    )
    said = {"encoding": encoding, "stored": sums, "chunk_size": len(raw)}
    return reference_to(content, bucket=bucket).model_copy(update=said)
