"""The proxy before Storage: it knows requests, so it can refuse, cut, spoil and count them."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from urllib.parse import parse_qs, urlsplit

from tests.faults.harness.proxy import BLOCK, LOOK_SECONDS, Link, Proxy

HTML = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@dataclass(frozen=True)
class Exchange:
    """One request on its way."""

    method: str
    target: str
    length: int

    @property
    def is_upload(self) -> bool:
        """Whether it carries an object, or a part of one."""
        return self.method == "PUT" and self.length > 0

    @property
    def part(self) -> int | None:
        """The number of the part that it carries."""
        numbers = parse_qs(urlsplit(self.target).query).get("partNumber")
        return int(numbers[0]) if numbers and self.method == "PUT" else None


def _answer(status: int, body: str, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Injected", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


ANSWERS = {
    "429": _answer(429, "", "Retry-After: 2"),
    "500": _answer(500, '{"statusCode":"500"}', "Content-Type: application/json"),
    "503": _answer(503, "", "Retry-After: 1"),
    "html": _answer(502, HTML, "Content-Type: text/html"),
}
"""What is answered in Storage's place; Storage never hears of the request."""
TRUNCATED, LOST, CORRUPTED, SPOILED = "truncated", "lost", "corrupted", "spoiled"
"""An answer cut in the middle, or never given; a bit turned in an upload, or in a download."""


def _never(_exchange: Exchange) -> bool:
    return False


@dataclass
class Trouble:
    """What befalls a share of the requests."""

    what: str
    share: float
    dice: Random
    befalls: Callable[[Exchange], bool] = lambda _exchange: True

    def hits(self, exchange: Exchange) -> bool:
        """Whether it befalls this one."""
        if self.what == CORRUPTED and not exchange.is_upload:
            return False
        if self.what == SPOILED and exchange.method != "GET":
            return False
        return self.befalls(exchange) and self.dice.random() < self.share


class HttpProxy(Proxy):
    """HTTP/1.1 without pipelining, as our client speaks it."""

    def __init__(self, name: str, upstream: Callable[[], int]) -> None:
        super().__init__(name, upstream)
        self.trouble: Trouble | None = None
        self.holds: Callable[[Exchange], bool] = _never
        """Which requests wait, for as long as this is so, before Storage hears of them."""
        self.withholds: Callable[[Exchange], bool] = _never
        """Whose answers wait for as long as this is so."""
        self.befallen: Counter[str] = Counter()
        self.by_second: Counter[int] = Counter()
        """Requests that came, by the second of the clock."""
        self.waiting: list[Exchange] = []
        """What has waited, or still waits."""

    def forget(self) -> None:
        """Nothing waits any more, and nothing befalls anybody."""
        self.trouble, self.holds, self.withholds = None, _never, _never
        self.waiting.clear()

    async def _serve(
        self,
        link: Link,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        while head := await _head(client[0]):
            exchange = _exchange(head)
            self.by_second[int(time.time())] += 1
            befell = self._befell(exchange)
            if befell in ANSWERS:
                await _discard(client[0], exchange.length)
                await self.send(link, client[1], ANSWERS[befell])
                continue
            await self._wait(exchange, "holds")
            await self.send(link, server[1], head)
            body = asyncio.ensure_future(
                self._body(link, client[0], server[1], exchange.length, befell == CORRUPTED)
            )
            try:
                goes_on = await self._relay(link, server[0], client[1], exchange, befell)
                if not goes_on or not body.done():  # an answer before the end of the body
                    return
            finally:
                body.cancel()
                await asyncio.gather(body, return_exceptions=True)

    def _befell(self, exchange: Exchange) -> str:
        if self.trouble is None or not self.trouble.hits(exchange):
            return ""
        self.befallen[self.trouble.what] += 1
        return self.trouble.what

    async def _relay(
        self,
        link: Link,
        server: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        exchange: Exchange,
        befell: str,
    ) -> bool:
        """Pass the answer on; whether the connection may be used again."""
        head = await _head(server)
        if not head:
            return False
        await self._wait(exchange, "withholds")
        if befell == LOST:
            return False
        await self.send(link, client, head)
        if exchange.method == "HEAD" or _status(head) in (204, 304):
            return True
        if b"chunked" in head.lower():
            return await self._chunked(link, server, client)
        length = _length(head)
        if befell == TRUNCATED:
            await self._body(link, server, client, length // 2, turned=False)
            return False
        await self._body(link, server, client, length, turned=befell == SPOILED)
        return True

    async def _wait(self, exchange: Exchange, condition: str) -> None:
        """While a condition, an attribute that may change meanwhile, holds for it."""
        if getattr(self, condition)(exchange):
            self.waiting.append(exchange)
        while getattr(self, condition)(exchange):  # noqa: ASYNC110  the condition is a test's, of another thread
            await asyncio.sleep(LOOK_SECONDS)

    async def _body(
        self,
        link: Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        length: int,
        turned: bool,
    ) -> None:
        left = length
        while left:
            block = await reader.read(min(BLOCK, left))
            if not block:
                raise ConnectionError
            left -= len(block)
            if turned and not left:  # a bit of the very last byte
                block = block[:-1] + bytes([block[-1] ^ 1])
            await self.send(link, writer, block)

    async def _chunked(
        self, link: Link, server: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> bool:
        while True:
            size = await server.readuntil(b"\n")
            chunk = await server.readexactly(int(size.split(b";")[0], 16) + 2)
            await self.send(link, client, size + chunk)
            if int(size.split(b";")[0], 16) == 0:
                return True


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return b""


async def _discard(reader: asyncio.StreamReader, length: int) -> None:
    while length:
        block = await reader.read(min(BLOCK, length))
        if not block:
            raise ConnectionError
        length -= len(block)


def _exchange(head: bytes) -> Exchange:
    method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ", 2)
    return Exchange(method, target, _length(head))


def _status(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


def _length(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0
