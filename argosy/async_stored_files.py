"""`StoredFiles`, to be awaited; what a method does, takes and raises is said there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from collections.abc import Sequence as Seq
from functools import partial

from argosy.async_base_client import AsyncBaseClient
from argosy.given import ReferenceLike
from argosy.info import FileInfo
from argosy.options import ListOptions
from argosy.reference import FileReference


class AsyncStoredFiles(AsyncBaseClient):
    """The part of `AsyncClient` that looks at files in Storage, and says who may have them."""

    async def list_files(
        self, bucket: str | None = None, prefix: str = "", options: ListOptions | None = None
    ) -> AsyncIterator[FileInfo]:
        """As `Client.list_files`: `async for info in client.list_files()`."""
        begin = partial(self._client.list_files, bucket, prefix, options)
        async for info in self._each(begin):
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
