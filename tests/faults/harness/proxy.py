"""TCP proxies before the servers: what passes through one can be slowed, silenced or cut."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from local import ports
from local.ports import HOST

BLOCK = 64 * 1024
LOOK_SECONDS = 0.05


class Link:
    """One connection through a proxy; `silent` once a byte of it was withheld."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.silent = False
        self._ends = [client]

    def join(self, server: asyncio.StreamWriter) -> None:
        """The connection to the server has been made."""
        self._ends.append(server)

    def cut(self) -> None:
        """Reset both ends."""
        for end in self._ends:
            end.transport.abort()


class Proxy:
    """Listens for one server. Faults are attributes that any thread may set."""

    def __init__(self, name: str, upstream: Callable[[], int]) -> None:
        """`upstream` tells the server's port on this machine."""
        self.name = name
        self.port = ports.take()
        self.bytes_per_second: float | None = None
        self.delay_seconds = 0.0
        self.is_silent = False
        """Whether nothing passes any more, and nobody is told: connections are half-open."""
        self.refused: Counter[int] = Counter()
        """Connections that the server did not take, by the second of the clock."""
        self._upstream = upstream
        self._links: set[Link] = set()

    async def listen(self) -> None:
        """Begin to accept."""
        await asyncio.start_server(self._accept, HOST, self.port)

    def cut(self) -> int:
        """Reset every connection; how many there were. In the proxies' own thread."""
        links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    def cut_silenced(self) -> None:
        """Reset the connections that have lost something: the network is back, they are not."""
        for link in [link for link in self._links if link.silent]:
            link.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(writer)
        self._links.add(link)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                server = await self._connect()
                link.join(server[1])
                await self._serve(link, (reader, writer), server)
        finally:
            link.cut()
            self._links.discard(link)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection(HOST, self._upstream(), limit=4 * BLOCK)
        except OSError:
            self.refused[int(time.time())] += 1
            raise

    async def _serve(
        self,
        link: Link,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        """Both ways until one of them ends."""
        pumps = [
            asyncio.ensure_future(self._pump(link, client[0], server[1])),
            asyncio.ensure_future(self._pump(link, server[0], client[1])),
        ]
        await first_of(pumps)

    async def _pump(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while block := await reader.read(BLOCK):
            await self.send(link, writer, block)

    async def send(self, link: Link, writer: asyncio.StreamWriter, block: bytes) -> None:
        """Pass a block on, as fast as may be."""
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if self.bytes_per_second:
            await asyncio.sleep(len(block) / self.bytes_per_second)
        while self.is_silent:
            link.silent = True
            await asyncio.sleep(LOOK_SECONDS)
        writer.write(block)
        await writer.drain()


async def first_of(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Wait for one of them, and end the others."""
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Crossing:
    """The thread in which all proxies of one run work."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxies", daemon=True)
        self._thread.start()

    def open(self, *proxies: Proxy) -> None:
        """Have them listen."""
        for proxy in proxies:
            self._do(proxy.listen())

    def call(self, act: Callable[[], Any]) -> Any:
        """Do something in the thread, and return what it gave."""

        async def done() -> Any:
            return act()

        return self._do(done())

    def close(self) -> None:
        """End the thread; every connection goes with it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)

    def _run(self) -> None:
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
