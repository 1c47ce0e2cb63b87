"""`FileWork`, to be awaited; what a method does, takes and raises is said there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from argosy.async_base_client import AsyncBaseClient
from argosy.derived import Encoding
from argosy.file_work import PictureFormat
from argosy.given import ReferenceLike
from argosy.options import UploadOptions
from argosy.reference import FileReference


class AsyncFileWork(AsyncBaseClient):
    """The part of `AsyncClient` that asks the fleet for more than bytes."""

    async def inspect(
        self, reference: ReferenceLike, *, deadline_seconds: float | None = None
    ) -> FileReference:
        """As `Client.inspect`."""
        return await self._run(self._client.inspect, reference, deadline_seconds=deadline_seconds)

    async def thumbnail(
        self,
        reference: ReferenceLike,
        *,
        sizes: Sequence[int] | None = None,
        format: PictureFormat | None = None,  # noqa: A002  what the task calls it
        quality: int | None = None,
        allow_truncated: bool = False,
        required: bool = True,
        deadline_seconds: float | None = None,
    ) -> FileReference:
        """As `Client.thumbnail`."""
        return await self._run(
            self._client.thumbnail,
            reference,
            sizes=sizes,
            format=format,
            quality=quality,
            allow_truncated=allow_truncated,
            required=required,
            deadline_seconds=deadline_seconds,
        )

    async def compress(
        self,
        reference: ReferenceLike,
        *,
        encoding: Encoding = "zstd",
        deadline_seconds: float | None = None,
    ) -> FileReference:
        """As `Client.compress`."""
        return await self._run(
            self._client.compress,
            reference,
            encoding=encoding,
            deadline_seconds=deadline_seconds,
        )

    async def process(
        self, reference: ReferenceLike, *, deadline_seconds: float | None = None
    ) -> FileReference:
        """As `Client.process`."""
        return await self._run(self._client.process, reference, deadline_seconds=deadline_seconds)

    async def provenance(self, reference: ReferenceLike) -> list[dict[str, Any]]:
        """As `Client.provenance`."""
        return await self._run(self._client.provenance, reference)

    async def copy(
        self, reference: ReferenceLike, *, options: UploadOptions | None = None
    ) -> FileReference:
        """As `Client.copy`."""
        return await self._run(self._client.copy, reference, options=options)

    async def persist(
        self, reference: ReferenceLike, *, options: UploadOptions | None = None
    ) -> FileReference:
        """As `Client.persist`."""
        return await self._run(self._client.persist, reference, options=options)
