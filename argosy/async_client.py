"""The client for asyncio: the same engine in threads, so that the two behave as one.

Bytes are hashed and written as they move, which is a thread's work in any case.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Seq
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar
from uuid import UUID

from argosy.async_file_work import AsyncFileWork
from argosy.client import Client
from argosy.deadline import called_off
from argosy.direct.remote_file import RemoteFile
from argosy.errors import Error, TransferCancelled
from argosy.given import ReferenceLike, TransferLike
from argosy.info import FileInfo, Status, Usage
from argosy.messages import Attachment
from argosy.options import DownloadOptions, ListOptions, UploadOptions
from argosy.progress import Subscriber
from argosy.reference import FileReference
from argosy.settings import AgentSettings

T = TypeVar("T")
_END = object()
CALLS = 32
"""Calls of one client that run at once; the others wait their turn."""


class AsyncClient(AsyncFileWork):
    """`Client`, to be awaited; what a method does, takes and raises is said there.

    A call whose task is cancelled ends within a block of bytes, as Client's does at its
    deadline: what is worth keeping for the next try is kept.
    """

    def __init__(
        self,
        settings: AgentSettings | None = None,
        *,
        agent: str | None = None,
        key: str | None = None,
        subscribers: Seq[Subscriber] = (),
    ) -> None:
        self._client = Client(settings, agent=agent, key=key, subscribers=subscribers)
        self._threads = ThreadPoolExecutor(CALLS, thread_name_prefix="argosy")

    @property
    def settings(self) -> AgentSettings:
        """As the client's."""
        return self._client.settings

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back the connections to the broker, once every call has ended."""
        await asyncio.to_thread(self._threads.shutdown)
        self._client.close()

    async def agent_id(self) -> UUID:
        """Who this client acts for."""
        return await self._run(lambda: self._client.agent_id)

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
        blocks = _Blocks(source, asyncio.get_running_loop())
        return await self._run(
            upload, blocks, name, metadata, options=options, on_cancel=blocks.stop
        )

    async def upload_later(
        self,
        path: str | os.PathLike[str],
        metadata: Mapping[str, str] | None = None,
        *,
        options: UploadOptions | None = None,
    ) -> UUID:
        """As `Client.upload_later`."""
        return await self._run(self._client.upload_later, path, metadata, options=options)

    async def upload_many_later(
        self,
        paths: Iterable[str | os.PathLike[str]],
        metadata: Mapping[str, str] | None = None,
        *,
        options: UploadOptions | None = None,
    ) -> UUID:
        """As `Client.upload_many_later`."""
        later = self._client.upload_many_later
        return await self._run(later, paths, metadata, options=options)

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
        blocks = await self._run(self._client.iter_bytes, reference, options=options)
        async for block in self._each(blocks):
            yield block

    async def open_file(
        self, reference: ReferenceLike, *, options: DownloadOptions | None = None
    ) -> AsyncFile:
        """As `Client.open_file`: `async with await client.open_file(reference) as file`."""
        opened = await self._run(self._client.open_file, reference, options=options)
        return AsyncFile(opened, self._run)

    # Looking and arranging

    async def list_files(
        self, bucket: str | None = None, prefix: str = "", options: ListOptions | None = None
    ) -> AsyncIterator[FileInfo]:
        """As `Client.list_files`: `async for info in client.list_files()`."""
        async for info in self._each(self._client.list_files(bucket, prefix, options)):
            yield info

    async def get_file_metadata(self, reference: ReferenceLike) -> FileInfo:
        """As `Client.get_file_metadata`."""
        return await self._run(self._client.get_file_metadata, reference)

    async def delete_file(self, reference: ReferenceLike) -> None:
        """As `Client.delete_file`."""
        await self._run(self._client.delete_file, reference)

    async def extend(self, reference: ReferenceLike, days: float | None = None) -> FileReference:
        """As `Client.extend`."""
        return await self._run(self._client.extend, reference, days)

    async def share(
        self,
        reference: ReferenceLike,
        share_with: Seq[str],
        *,
        access: str = "read",
        seconds: float | None = None,
    ) -> FileReference:
        """As `Client.share`."""
        share = self._client.share
        return await self._run(share, reference, share_with, access=access, seconds=seconds)

    async def unshare(self, reference: ReferenceLike, share_with: Seq[str]) -> FileReference:
        """As `Client.unshare`."""
        return await self._run(self._client.unshare, reference, share_with)

    async def signed_url(self, reference: ReferenceLike, *, seconds: int = 3600) -> str:
        """As `Client.signed_url`."""
        return await self._run(self._client.signed_url, reference, seconds=seconds)

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

    # Transfers of the fleet

    async def wait(
        self,
        transfer: TransferLike,
        *,
        deadline_seconds: float | None = None,
        subscribers: Seq[Subscriber] = (),
    ) -> FileReference | str:
        """As `Client.wait`."""
        wait = self._client.wait
        return await self._run(
            wait, transfer, deadline_seconds=deadline_seconds, subscribers=subscribers
        )

    async def wait_many(
        self, transfer: TransferLike, *, deadline_seconds: float | None = None
    ) -> list[FileReference | Error]:
        """As `Client.wait_many`."""
        wait = self._client.wait_many
        return await self._run(wait, transfer, deadline_seconds=deadline_seconds)

    async def status(self, transfer: TransferLike) -> Status:
        """As `Client.status`."""
        return await self._run(self._client.status, transfer)

    async def cancel(self, transfer: TransferLike) -> Status:
        """As `Client.cancel`."""
        return await self._run(self._client.cancel, transfer)

    async def pause(self, transfer: TransferLike) -> Status:
        """As `Client.pause`."""
        return await self._run(self._client.pause, transfer)

    async def resume(self, transfer: TransferLike) -> Status:
        """As `Client.resume`."""
        return await self._run(self._client.resume, transfer)

    async def retry(self, transfer: TransferLike) -> Status:
        """As `Client.retry`."""
        return await self._run(self._client.retry, transfer)

    async def history(self, limit: int = 50, before: str | None = None) -> list[Status]:
        """As `Client.history`."""
        return await self._run(self._client.history, limit, before)

    async def usage(self) -> Usage:
        """As `Client.usage`."""
        return await self._run(self._client.usage)

    # Within

    async def _run(
        self,
        call: Callable[..., T],
        *arguments: Any,
        on_cancel: Callable[[], None] | None = None,
        **options: Any,
    ) -> T:
        """Do it in a thread. When our task is cancelled the thread is told, and waited for."""
        context, off = copy_context(), threading.Event()
        context.run(called_off.set, off)
        work = partial(context.run, partial(call, *arguments, **options))
        job = self._threads.submit(work)
        running = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            off.set()
            if on_cancel:
                on_cancel()
            if not job.cancel():  # one that waits for its turn must not be done at all
                await asyncio.wait([running])
                running.exception()  # heard: it is the cancellation that ends the call
            raise

    async def _each(self, iterator: Iterator[T]) -> AsyncIterator[T]:
        """Every element, each asked for in a thread."""
        try:
            while (found := await self._run(next, iterator, _END)) is not _END:
                yield found
        finally:
            if close := getattr(iterator, "close", None):
                await self._run(close)


class AsyncFile:
    """A `RemoteFile` to be awaited."""

    def __init__(self, file: RemoteFile, run: Callable[..., Any]) -> None:
        self._file = file
        self._run = run

    async def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all that are left when it is negative; none at the end."""
        before = self._file.tell()
        try:
            found: bytes = await self._run(self._file.read, size)
        except asyncio.CancelledError:
            self._file.seek(before)  # what was read and not given is read again
            raise
        return found

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position, and return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self._file.tell()

    async def close(self) -> None:
        """End the reading ahead."""
        await self._run(self._file.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class _Blocks:
    """An asynchronous iterable, read by a thread that is not the loop's."""

    def __init__(self, source: AsyncIterable[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._source = aiter(source)
        self._loop = loop
        self._stopped = threading.Event()
        self._waiting: Future[bytes | None] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        self._waiting = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        if self._stopped.is_set():
            self._waiting.cancel()
        try:
            block = self._waiting.result()
        except CancelledError:
            raise TransferCancelled("The call was cancelled.") from None
        if block is None:
            raise StopIteration
        return block

    async def _next(self) -> bytes | None:
        return await anext(self._source, None)

    def stop(self) -> None:
        """Nobody waits for the next block any more."""
        self._stopped.set()
        if self._waiting:
            self._waiting.cancel()
