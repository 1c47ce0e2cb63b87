"""What an asynchronous iterable yields, for the thread that uploads it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable
from concurrent.futures import CancelledError, Future
from typing import Self

from argosy.errors import TransferCancelled


class Blocks:
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
