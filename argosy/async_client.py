"""The client for asyncio: the same engine in threads, so that the two behave as one.

Bytes are hashed and written as they move, which is a thread's work in any case.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from argosy.async_background import AsyncBackground
from argosy.async_blocks import Blocks
from argosy.async_file import AsyncFile
from argosy.async_file_work import AsyncFileWork
from argosy.async_stored_files import AsyncStoredFiles
from argosy.given import ReferenceLike
from argosy.messages import Attachment
from argosy.options import DownloadOptions, UploadOptions
from argosy.reference import FileReference


class AsyncClient(AsyncBackground, AsyncStoredFiles, AsyncFileWork):
    """`Client`, to be awaited; what a method does, takes and raises is said there.

    A call whose task is cancelled ends within a block of bytes, as Client's does at its
    deadline: what is worth keeping for the next try is kept.
    """

    # Up

    async def upload_file(
        self,
        file: str | os.PathLike[str] | bytes | BinaryIO,
        metadata: Mapping[str, str] | None = None,
        *,
        options: UploadOptions | None = None,
    ) -> FileReference:
        """As `Client.upload_file`."""
        return await self._run(self._client.upload_file, file, metadata, options=options)

    async def upload_stream(
        self,
        source: AsyncIterable[bytes] | Iterable[bytes] | BinaryIO,
        name: str,
        metadata: Mapping[str, str] | None = None,
        *,
        options: UploadOptions | None = None,
    ) -> FileReference:
        """As `Client.upload_stream`, also of an asynchronous iterable."""
        upload = self._client.upload_stream
        if not isinstance(source, AsyncIterable):
            return await self._run(upload, source, name, metadata, options=options)
        blocks = Blocks(source, asyncio.get_running_loop())
        return await self._run(
            upload, blocks, name, metadata, options=options, on_cancel=blocks.stop
        )

    # Down

    async def download_file(
        self,
        reference: ReferenceLike,
        destination: str | os.PathLike[str],
        *,
        options: DownloadOptions | None = None,
    ) -> Path:
        """As `Client.download_file`."""
        return await self._run(self._client.download_file, reference, destination, options=options)

    async def iter_bytes(
        self, reference: ReferenceLike, *, options: DownloadOptions | None = None
    ) -> AsyncIterator[bytes]:
        """As `Client.iter_bytes`: `async for block in client.iter_bytes(reference)`."""
        begin = partial(self._client.iter_bytes, reference, options=options)
        async for block in self._each(begin):
            yield block

    async def open_file(
        self, reference: ReferenceLike, *, options: DownloadOptions | None = None
    ) -> AsyncFile:
        """As `Client.open_file`: `async with await client.open_file(reference) as file`."""
        opened = await self._run(self._client.open_file, reference, options=options)
        return AsyncFile(opened, self._run)

    # Messages

    async def send(
        self,
        to: str,
        body: Any,
        attachments: Iterable[Attachment] = (),
        *,
        options: UploadOptions | None = None,
    ) -> UUID:
        """As `Client.send`."""
        return await self._run(self._client.send, to, body, attachments, options=options)
