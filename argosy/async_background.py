"""`Background`, to be awaited; what a method does, takes and raises is said there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from uuid import UUID

from argosy.async_base_client import AsyncBaseClient
from argosy.errors import Error
from argosy.given import TransferLike
from argosy.info import Status, Usage
from argosy.options import UploadOptions
from argosy.progress import Subscriber
from argosy.reference import FileReference


class AsyncBackground(AsyncBaseClient):
    """The part of `AsyncClient` that has the fleet move bytes, and steers its transfers."""

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
