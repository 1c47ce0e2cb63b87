"""What the parts of the client for asyncio stand on: the client, and threads to run it in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from collections.abc import Sequence as Seq
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from argosy.client import Client
from argosy.closing import AsyncClosing
from argosy.deadline import called_off
from argosy.progress import Subscriber
from argosy.settings import AgentSettings

T = TypeVar("T")
_END = object()
CALLS = 32
"""Calls of one client that run at once; the others wait their turn."""


class AsyncBaseClient(AsyncClosing):
    """A `Client`, each of whose calls runs in a thread."""

    def __init__(
        self,
        settings: AgentSettings | None = None,
        *,
        agent: str | None = None,
        key: str | None = None,
        subscribers: Seq[Subscriber] = (),
    ) -> None:
        self._client = Client(settings, agent=agent, key=key, subscribers=subscribers)
        self._threads = _new_threads()

    @property
    def settings(self) -> AgentSettings:
        """As the client's."""
        return self._client.settings

    async def close(self) -> None:
        """Give back the connections to the broker, once every call that was begun has ended.

        As with `Client`, a call after it makes new ones; none may begin meanwhile.
        """
        threads, self._threads = self._threads, _new_threads()
        await asyncio.to_thread(threads.shutdown)
        self._client.close()

    async def agent_id(self) -> UUID:
        """Who this client acts for."""
        return await self._run(lambda: self._client.agent_id)

    async def _run(
        self,
        call: Callable[..., T],
        *arguments: Any,
        on_cancel: Callable[[], None] | None = None,
        off: threading.Event | None = None,
        **options: Any,
    ) -> T:
        """Do it in a thread. When our task is cancelled the thread is told, and waited for.

        It is told by `off`, where several calls belong together.
        """
        context, off = copy_context(), off or threading.Event()
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

    async def _each(self, begin: Callable[[], Iterator[T]]) -> AsyncIterator[T]:
        """Every element of what `begin` gives, each asked for in a thread.

        Its deadline hears one event, whichever of them is waited for when it is called off.
        """
        off = threading.Event()
        iterator = await self._run(begin, off=off)
        try:
            while (found := await self._run(next, iterator, _END, off=off)) is not _END:
                yield found
        finally:
            if close := getattr(iterator, "close", None):
                await self._run(close)


def _new_threads() -> ThreadPoolExecutor:
    """They start as they are needed."""
    return ThreadPoolExecutor(CALLS, thread_name_prefix="argosy")
