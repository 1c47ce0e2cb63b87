"""A stored file that is read as it is asked for, to be awaited."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from argosy.closing import AsyncClosing
from argosy.direct.remote_file import RemoteFile


class AsyncFile(AsyncClosing):
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
