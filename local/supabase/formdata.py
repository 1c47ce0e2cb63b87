"""Unwrapping a multipart/form-data body as it streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from email.message import Message

from local.supabase import errors

_MAX_HEADER = 16 * 1024
_MAX_FIELD = 1024 * 1024


class Buffered:
    """A stream of chunks that can be read up to a delimiter."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""
        self.ended = False

    async def fill(self) -> bool:
        """Add one more chunk to the buffer; say whether there was one."""
        chunk = await anext(self._chunks, b"")
        self.ended = not chunk
        self._buffer += chunk
        return bool(chunk)

    async def until(self, delimiter: bytes, limit: int) -> bytes:
        """Return what comes before the delimiter, and skip the delimiter."""
        while (found := self._buffer.find(delimiter)) < 0:
            if len(self._buffer) > limit or not await self.fill():
                raise errors.incomplete_body()
        head = self._buffer[:found]
        self._buffer = self._buffer[found + len(delimiter) :]
        return head

    async def exactly(self, size: int) -> AsyncIterator[bytes]:
        """Yield the next `size` bytes."""
        while size:
            if not self._buffer and not await self.fill():
                raise errors.incomplete_body()
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece

    async def stream_until(self, delimiter: bytes) -> AsyncIterator[bytes]:
        """Yield what comes before the delimiter as it arrives, and skip the delimiter."""
        keep = len(delimiter) - 1
        while (found := self._buffer.find(delimiter)) < 0:
            if len(self._buffer) > keep:
                piece = self._buffer[: len(self._buffer) - keep]
                self._buffer = self._buffer[len(piece) :]
                yield piece
            if not await self.fill():
                raise errors.incomplete_body()
        piece, self._buffer = self._buffer[:found], self._buffer[found + len(delimiter) :]
        if piece:
            yield piece


class Form:
    """A multipart/form-data body: its fields, then its one file."""

    def __init__(self, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        boundary = _parameter(content_type, "content-type", "boundary")
        if not boundary:
            raise errors.no_content()
        self._delimiter = b"\r\n--" + boundary.encode()
        self._stream = Buffered(chunks)
        self.fields: dict[str, str] = {}
        self.file_type = "application/octet-stream"

    async def read_fields(self) -> None:
        """Read the fields up to the file."""
        await self._stream.until(self._delimiter[2:], _MAX_HEADER)
        while True:
            if await self._stream.until(b"\r\n", _MAX_HEADER) == b"--":
                raise errors.no_content()
            headers = _headers(await self._stream.until(b"\r\n\r\n", _MAX_HEADER))
            disposition = headers.get("content-disposition", "")
            if "filename" in disposition:
                self.file_type = headers.get("content-type", self.file_type)
                return
            name = _parameter(disposition, "content-disposition", "name") or ""
            value = await self._stream.until(self._delimiter, _MAX_FIELD)
            self.fields[name] = value.decode("utf-8", "replace")

    async def file(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes."""
        async for piece in self._stream.stream_until(self._delimiter):
            yield piece
        while await self._stream.fill():
            pass


def _headers(raw: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in raw.decode("utf-8", "replace").split("\r\n"))
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _parameter(value: str, header: str, name: str) -> str | None:
    message = Message()
    message[header] = value
    found = message.get_param(name, header=header)
    return found if isinstance(found, str) else None
