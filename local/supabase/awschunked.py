"""The aws-chunked coding: S3's own chunks inside the body, each with a signature."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from local.supabase import errors
from local.supabase.formdata import Buffered

_MAX_LINE = 16 * 1024
VerifyChunk = Callable[[str, str, str], None]  # previous signature, digest, signature


@dataclass(frozen=True)
class Coding:
    """Which kind of aws-chunked a request announces."""

    signed: bool
    trailer: bool

    @classmethod
    def of(cls, payload_hash: str) -> Coding | None:
        """Read x-amz-content-sha256; None when the body is plain."""
        if not payload_hash.startswith("STREAMING-"):
            return None
        return cls("UNSIGNED" not in payload_hash, payload_hash.endswith("-TRAILER"))


async def decode(
    chunks: AsyncIterator[bytes], coding: Coding, seed: str, verify: VerifyChunk
) -> AsyncIterator[bytes]:
    """Yield the bytes inside, and check each chunk's signature when they are signed."""
    stream, previous = Buffered(chunks), seed
    while True:
        line = (await stream.until(b"\r\n", _MAX_LINE)).decode("latin-1")
        size, signature = _read_line(line)
        digest = hashlib.sha256()
        async for piece in stream.exactly(size):
            if coding.signed:
                digest.update(piece)
            yield piece
        if coding.signed:
            verify(previous, digest.hexdigest(), signature)
            previous = signature
        if not size:
            break
        if await stream.until(b"\r\n", _MAX_LINE):
            raise errors.incomplete_body()
    await _read_trailer(stream, coding)


def _read_line(line: str) -> tuple[int, str]:
    size, _, extension = line.partition(";")
    try:
        return int(size, 16), extension.partition("=")[2]
    except ValueError as error:
        raise errors.incomplete_body() from error


async def _read_trailer(stream: Buffered, coding: Coding) -> None:
    found = False
    while line := await stream.until(b"\r\n", _MAX_LINE) if not stream.ended else b"":
        found = found or b":" in line
    if coding.trailer and not found:
        raise errors.incomplete_body()
