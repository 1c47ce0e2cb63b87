"""Making a derivative again, from the same bytes and the same parameters, to compare it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from argosy.coding.encoder import encoded
from argosy.errors import InvalidRequest
from media.source import ByteSource
from media.thumbnail import ThumbnailOptions
from media.workshop import Workshop

BLOCK_BYTES = 1024 * 1024


class FileSource:
    """A file of this machine, as those read it who look into it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.size = size
        self._file = file

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, fewer only where the file ends."""
        self._file.seek(offset)
        return self._file.read(length)


def sha256_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON document, keys in order and without spaces: so facts are compared."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def made_again(
    workshop: Workshop,
    source: ByteSource,
    step: str,
    parameters: Mapping[str, Any],
) -> str:
    """The SHA-256 of what a step makes of these bytes, as its provenance has it.

    Raises InvalidRequest for a step that is unknown here, KeyError for a parameter that was
    not noted, and what the step itself raises.
    """
    if step == "inspect":
        facts = workshop.inspect(
            source,
            name=parameters["name"],
            declared_type=parameters["declared_type"],
            private=parameters["private"],
            traffic=parameters["traffic"],
        )
        return sha256_of(facts.model_dump(mode="json", exclude_none=True))
    if step == "thumbnail":
        return _thumbnail(workshop, source, parameters)
    if step == "compress":
        return _compressed(source, parameters)
    raise InvalidRequest(f"A step {step!r} is not known here: a newer Argosy has made it.")


def _thumbnail(workshop: Workshop, source: ByteSource, parameters: Mapping[str, Any]) -> str:
    """One size of those that were made together: each is made of the next larger one."""
    options = ThumbnailOptions(
        sizes=tuple(parameters["sizes"]),
        format=parameters["format"],
        quality=parameters["quality"],
        allow_truncated=bool(parameters.get("allow_truncated")),
    )
    pictures = {one.edge: one for one in workshop.thumbnails(source, options)}
    return hashlib.sha256(pictures[parameters["size"]].data).hexdigest()


def _compressed(source: ByteSource, parameters: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for piece in encoded(_blocks(source), parameters["encoding"], parameters["level"]):
        digest.update(piece)
    return digest.hexdigest()


def _blocks(source: ByteSource) -> Iterator[bytes]:
    for offset in range(0, source.size, BLOCK_BYTES):
        yield source.read(offset, BLOCK_BYTES)
