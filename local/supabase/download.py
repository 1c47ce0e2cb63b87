"""Answering with an object's bytes: conditions, ranges, headers, and the stream."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from starlette.types import Receive, Scope, Send

from local.supabase import errors
from local.supabase.database import Row
from local.supabase.disk import BLOCK, Disk
from local.supabase.transfer import Reader, in_thread

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_WATCH_ABOVE = 4 * BLOCK


@dataclass(frozen=True)
class Span:
    """The part of an object that is asked for."""

    start: int
    length: int
    total: int
    partial: bool

    @property
    def content_range(self) -> str:
        """The value of Content-Range."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.total}"


def span_of(range_header: str | None, total: int) -> Span:
    """Read a Range header; several ranges, or another unit, mean the whole object."""
    match = _RANGE.fullmatch((range_header or "").strip())
    if match is None or match.groups() == ("", ""):
        return Span(0, total, total, partial=False)
    first, last = match.groups()
    if first:
        start, end = int(first), min(int(last) if last else total - 1, total - 1)
    else:
        start, end = max(total - int(last), 0), total - 1
    if start > end:
        raise errors.invalid_range()
    return Span(start, end - start + 1, total, partial=True)


def last_modified(row: Row) -> datetime:
    """Return when the object's bytes were written."""
    text = (row["metadata"] or {}).get("lastModified")
    if text:
        return datetime.fromisoformat(text)
    moment: datetime = row["updated_at"]
    return moment


def http_date(moment: datetime) -> str:
    """Write a moment as HTTP headers do."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def not_modified(headers: Mapping[str, str], row: Row) -> bool:
    """Say whether the client's copy is still good."""
    etags = headers.get("if-none-match")
    if etags:
        known = {tag.strip().removeprefix("W/").strip('"') for tag in etags.split(",")}
        return bool({"*", row["metadata"]["eTag"].strip('"')} & known)
    since = headers.get("if-modified-since")
    if since:
        try:
            return last_modified(row) <= parsedate_to_datetime(since)
        except (ValueError, TypeError):
            return False
    return False


class Download:
    """An ASGI response that streams an object, or a range of it, from disk."""

    def __init__(
        self, disk: Disk, row: Row, span: Span, headers: dict[str, str], *, body: bool = True
    ) -> None:
        self._disk = disk
        self._version: str = row["version"]
        self._span = span
        self._body = body
        self._headers = headers
        self._gone = asyncio.Event()
        self._reader: Reader | None = None

    async def open(self) -> None:
        """Open the files; FileNotFoundError says that the version is no longer there."""
        span = self._span
        self._reader = await in_thread(
            self._disk, Reader, self._disk, self._version, span.start, span.length
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers, then the blocks, until the client goes away."""
        del scope
        reader = self._reader
        try:
            await send(self._start())
            if reader is None:
                await send({"type": "http.response.body"})
                return
            small = reader.read_small()
            if small is not None:
                await send({"type": "http.response.body", "body": small})
                return
            await self._stream(reader, receive, send)
        finally:
            if reader is not None:
                reader.close()

    def _start(self) -> dict[str, object]:
        headers = {**self._headers, "content-length": str(self._span.length)}
        if self._span.partial:
            headers["content-range"] = self._span.content_range
        return {
            "type": "http.response.start",
            "status": 206 if self._span.partial else 200,
            "headers": [(k.encode(), v.encode("latin-1", "replace")) for k, v in headers.items()],
        }

    async def _stream(self, reader: Reader, receive: Receive, send: Send) -> None:
        watch = None
        if self._span.length > _WATCH_ABOVE:
            watch = asyncio.create_task(self._watch(receive))
        try:
            async for block in reader.blocks():
                if self._gone.is_set():
                    return
                await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            if watch is not None:
                watch.cancel()

    async def _watch(self, receive: Receive) -> None:
        # uvicorn swallows what is sent to a client that has left: nobody else would tell us.
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone.set()
