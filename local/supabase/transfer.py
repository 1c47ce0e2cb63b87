"""Bytes between the network and the disk: big blocks, a bounded number of them in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

from starlette.requests import Request

from local.supabase import errors
from local.supabase.disk import BLOCK, Disk, Writer, Written

Chunks = AsyncIterator[bytes]
T = TypeVar("T")
_INLINE = 64 * 1024
_DOCUMENT = 8 * 1024 * 1024
_OPEN_AT_ONCE = 256


async def in_thread(disk: Disk, work: Callable[..., T], *args: object) -> T:
    """Run blocking work on one of the disk's threads."""
    return await asyncio.get_running_loop().run_in_executor(disk.threads, work, *args)


async def body_of(request: Request) -> Chunks:
    """Yield the request's body; a client that goes away raises ClientDisconnect."""
    request.state.reading = True
    async for chunk in request.stream():
        if chunk:
            yield chunk


async def document_of(request: Request) -> bytes:
    """Return a body that is a JSON or XML document; a large one is refused, not held."""
    parts = [part async for part in limited(body_of(request), _DOCUMENT)]
    return b"".join(parts)


def headers_of_refusal(request: Request) -> dict[str, str]:
    """Close the connection of a client that still waits to be told to send its body.

    It will not send it after a refusal, and its next request must not be taken for the body.
    """
    waiting = "expect" in request.headers and not hasattr(request.state, "reading")
    return {"connection": "close"} if waiting else {}


async def limited(chunks: Chunks, limit: int) -> Chunks:
    """Yield the chunks, and refuse the one that exceeds the limit."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise errors.too_large()
        yield chunk


async def exactly(chunks: Chunks, size: int) -> Chunks:
    """Yield the chunks, and refuse a body that is shorter or longer than announced."""
    left = size
    async for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise errors.too_large()
        yield chunk
    if left:
        raise errors.incomplete_body()


async def save(
    disk: Disk, chunks: Chunks, begin: Callable[[], Writer], place: Callable[[], None]
) -> Written:
    """Write the chunks to a new file and put it in place; leave nothing behind on an error.

    One block is hashed and written by a thread while the next one arrives: two in memory.
    """
    writer: Writer | None = None
    batch: list[bytes] = []
    size = 0
    writing: asyncio.Future[None] | None = None
    try:
        async for chunk in chunks:
            batch.append(chunk)
            size += len(chunk)
            if size < BLOCK:
                continue
            if writing is not None:
                await writing
            writer = writer or begin()
            writing = asyncio.ensure_future(in_thread(disk, writer.write, batch))
            batch, size = [], 0
        if writing is not None:
            await writing
        writer = writer or begin()
        return await in_thread(disk, _finish, writer, batch, place)
    except BaseException:
        if writing is not None:
            await asyncio.wait([writing])
        if writer is not None:
            writer.discard()
        raise


def _finish(writer: Writer, batch: list[bytes], place: Callable[[], None]) -> Written:
    if batch:
        writer.write(batch)
    written = writer.finish()
    place()
    return written


class Reader:
    """An object opened for reading.

    The files are opened before the first byte is sent, so an object that is replaced or deleted
    meanwhile is still read whole (but for objects of very many pieces, opened as they come).
    """

    def __init__(self, disk: Disk, version: str, start: int, length: int) -> None:
        self._disk = disk
        self._length = length
        self._pieces = _cut(disk.segments(version), start, length)
        self._files: dict[Path, int] = {}
        self._closed = False
        for path, _, _ in self._pieces[:_OPEN_AT_ONCE]:
            self._files[path] = os.open(path, os.O_RDONLY)

    def close(self) -> None:
        """Close the files."""
        self._closed = True
        while self._files:
            os.close(self._files.popitem()[1])

    def read_small(self) -> bytes | None:
        """Return everything when it is little, without a thread; else None."""
        if self._length > _INLINE or len(self._pieces) > 1:
            return None
        return b"".join(self._read(*piece) for piece in self._pieces)

    async def blocks(self) -> Chunks:
        """Yield the bytes in blocks, reading one ahead."""
        ahead: asyncio.Future[bytes] | None = None
        for path, offset, length in self._pieces:
            for position in range(offset, offset + length, BLOCK):
                count = min(BLOCK, offset + length - position)
                coming = asyncio.ensure_future(
                    in_thread(self._disk, self._read, path, position, count)
                )
                if ahead is not None:
                    yield await ahead
                ahead = coming
        if ahead is not None:
            yield await ahead

    def _read(self, path: Path, offset: int, count: int) -> bytes:
        if self._closed:  # a block read ahead for a client that has left
            return b""
        if path not in self._files:
            self._files[path] = os.open(path, os.O_RDONLY)
        data = os.pread(self._files[path], count, offset)
        if len(data) != count:
            raise OSError(f"{path} is shorter than its row says")
        return data


def _cut(segments: list[tuple[Path, int]], start: int, length: int) -> list[tuple[Path, int, int]]:
    """Return the (file, offset, length) pieces that hold the range."""
    pieces = []
    end, position = start + length, 0
    for path, size in segments:
        first, last = max(start, position), min(end, position + size)
        if first < last:
            pieces.append((path, first - position, last - first))
        position += size
    return pieces
