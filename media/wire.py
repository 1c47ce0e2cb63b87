"""What a worker and a decoding process say to each other, over one socket.

The worker sends blocks: the job, then the bytes that the decoder asks for. The decoder sends
heads: `READ offset length` for bytes of the file, and once `ANSWER`, followed by a document
of JSON and by raw bytes. The worker believes nothing of it: every size is bounded, and the
document is checked by its model.
"""

from __future__ import annotations

import socket
import struct
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from argosy.facts import Facts

READ = b"R"
ANSWER = b"A"
LARGEST_READ = 4 * 1024 * 1024
LARGEST_DOCUMENT = 1024 * 1024
LARGEST_BODY = 64 * 1024 * 1024
BLOCK = struct.Struct(">I")
SPENT = 0xFFFFFFFF
"""In place of a block's length: no more may be fetched."""
HEAD = struct.Struct(">cQI")
"""What it is; READ: offset and length; ANSWER: length of the raw bytes and of the document."""

Count = Annotated[int, Field(ge=0, le=LARGEST_BODY)]
Words = Annotated[
    str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")
]
Edge = Annotated[int, Field(ge=1, le=16_384)]


class Head(NamedTuple):
    """One head, taken apart."""

    kind: bytes
    first: int
    second: int


class ThumbnailHead(BaseModel):
    """A thumbnail without its bytes: `length` of them lie in the raw part."""

    model_config = ConfigDict(extra="forbid")

    edge: Edge
    width: Edge
    height: Edge
    content_type: Literal["image/webp", "image/jpeg", "image/png", "image/avif"]
    length: Count


class Refusal(BaseModel):
    """Why nothing was made: a code of `argosy.errors` and its sentence."""

    model_config = ConfigDict(extra="forbid")

    code: Literal["unsupported_type", "damaged_file", "too_many_pixels", "decoder_stopped"]
    message: Words


class Answer(BaseModel):
    """One of the three."""

    model_config = ConfigDict(extra="forbid")

    facts: Facts | None = None
    thumbnails: tuple[ThumbnailHead, ...] | None = Field(None, max_length=64)
    refusal: Refusal | None = None


class ThumbnailJob(BaseModel):
    """Make thumbnails of a file of `size` bytes."""

    work: Literal["thumbnails"] = "thumbnails"
    size: int
    sizes: tuple[int, ...]
    format: Literal["webp", "jpeg", "png", "avif"]
    quality: int
    allow_truncated: bool
    pixels: int


class InspectJob(BaseModel):
    """Inspect a file of `size` bytes."""

    work: Literal["inspect"] = "inspect"
    size: int
    name: str
    declared_type: str
    private: bool


def receive(line: socket.socket, length: int) -> bytes:
    """Exactly `length` bytes.

    Raises:
        ConnectionError: The other side is gone.
    """
    found = bytearray()
    while len(found) < length:
        piece = line.recv(min(length - len(found), LARGEST_READ))
        if not piece:
            raise ConnectionError("the other side has closed the connection")
        found += piece
    return bytes(found)
