"""A TCP proxy that makes its connections as bad as it is told; it changes no byte."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from typing import cast

from local.network.line import Conditions, DelayLine, TokenBucket
from local.ports import HOST

PIECE = 32 * 1024
"""Bytes that pass, and are late, as one."""
MOST_HELD = 16 * 1024 * 1024
"""Bytes on their way in one direction of one connection: with 100 ms, 320 MB/s."""
MOST_AHEAD = 0.02
"""Seconds for which more is read than may pass: what waits longer, waits with its sender."""
BUFFER = 256 * 1024
"""Bytes that a socket takes from its sender before they pass."""
SET_UP_ROUND_TRIPS = 2
"""What a new connection takes before its first byte leaves: TCP, and TLS 1.3."""

_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on a port for a server on another one. A change of conditions ends what is open."""

    def __init__(self, port: int, upstream: int) -> None:
        self.port = port
        self._upstream = upstream
        self._conditions = Conditions()
        self._links: set[_Link] = set()

    async def listen(self) -> None:
        """Begin to accept."""
        listener = socket.create_server((HOST, self.port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)  # taken on by each
        await asyncio.get_running_loop().create_server(self._accept, sock=listener)

    def change(self, conditions: Conditions) -> None:
        """From now on."""
        self._conditions = conditions
        for link in list(self._links):
            link.reset()

    def _accept(self) -> asyncio.Protocol:
        return _Link(self._conditions, self._upstream, self._links).client


class _Link:
    """One connection through the proxy: both of its ends, and the ways between them."""

    def __init__(self, conditions: Conditions, upstream: int, links: set[_Link]) -> None:
        loop = asyncio.get_running_loop()
        self._is_over = False
        self._upstream = upstream
        self._links = links
        links.add(self)
        ready = loop.time() + SET_UP_ROUND_TRIPS * conditions.round_trip
        self.client, self._server = _End(self), _End(self)
        self.client.way = _Way(conditions, self.client, self._server, ready)
        self._server.way = _Way(conditions, self._server, self.client, ready)
        self._timer: asyncio.TimerHandle | None = None
        if conditions.lives:
            age = random.uniform(*conditions.lives)  # noqa: S311  dice, not a secret
            self._timer = loop.call_later(age, self.reset)
        self._connecting = asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            await loop.create_connection(lambda: self._server, HOST, self._upstream)
        except OSError:
            self.reset()

    def go_on(self) -> None:
        """One of the two ends has its socket, or takes more again."""
        if self._is_over:
            self.reset()  # the other one has gone meanwhile
            return
        for each in (self.client, self._server):
            each.way.go_on()

    def reset(self) -> None:
        """Cut it, as a network does: neither end is told more than that."""
        for end in (self.client, self._server):
            if end.transport is not None:
                found = end.transport.get_extra_info("socket")
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.transport.abort()
        self.close()

    def lost(self, end: _End) -> None:
        """An end has gone: the other hears of it once it has got what was on its way."""
        other = self._server if end is self.client else self.client
        other.way.is_ended = True
        if not end.way.is_ended:
            end.way.send(None)
        elif end.way.is_empty and other.transport is not None:
            other.transport.close()
        if self.client.transport is self._server.transport is None:
            self.close()

    def close(self) -> None:
        """Forget it."""
        self._is_over = True
        if self._timer:
            self._timer.cancel()
        self._links.discard(self)


class _End(asyncio.Protocol):
    """One end of a link; `way` leads from it to the other one."""

    way: _Way

    def __init__(self, link: _Link) -> None:
        self.transport: asyncio.Transport | None = None
        self.is_full = False
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=BUFFER)
        self._link.go_on()

    def data_received(self, data: bytes) -> None:
        """Bytes to pass on."""
        self.way.send(data)

    def eof_received(self) -> bool:
        """It sends no more, but may still listen."""
        self.way.send(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  either way
        """It is gone."""
        self.transport = None
        self._link.lost(self)

    def pause_writing(self) -> None:
        """It takes no more for now."""
        self.is_full = True

    def resume_writing(self) -> None:
        """It does again."""
        self.is_full = False
        self._link.go_on()


class _Way:
    """From one end to the other."""

    def __init__(self, conditions: Conditions, source: _End, target: _End, ready: float) -> None:
        self.is_ended = False
        """Whether its source sends no more."""
        self._loop = asyncio.get_running_loop()
        self._source, self._target = source, target
        self._delay = conditions.way
        self._ready = ready
        self._bucket = TokenBucket(conditions.rate) if conditions.rate else None
        self._line = DelayLine()
        self._passed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is on its way."""
        return self._line.next_due is None

    def send(self, data: bytes | None) -> None:
        """What the source gave: bytes, or its end."""
        now = max(self._loop.time(), self._ready)
        if data is None:
            self.is_ended = True
            self._line.put(None, now + self._delay)
        else:
            for start in range(0, len(data), PIECE):
                piece = data[start : start + PIECE] if len(data) > PIECE else data
                self._passed_at = self._bucket.pass_at(len(piece), now) if self._bucket else now
                self._line.put(piece, self._passed_at + self._delay)
        self.go_on()

    def go_on(self) -> None:
        """Deliver what is due, and read more if it may pass."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._deliver()
        wake = self._pause()
        if self._line.next_due is not None and self._target.transport and not self._target.is_full:
            wake = min(wake, self._line.next_due) if wake else self._line.next_due
        if wake:
            self._timer = self._loop.call_at(wake, self.go_on)

    def _deliver(self) -> None:
        now, target = self._loop.time(), self._target
        while (due := self._line.next_due) is not None and due <= now:
            if target.transport is None or target.transport.is_closing() or target.is_full:
                return
            block = self._line.take(now)
            if block is not None:
                target.transport.write(block)
            else:
                self._end(target.transport)

    def _end(self, target: asyncio.Transport) -> None:
        """Pass the end on; once both ways are at theirs, the connection is over."""
        if self._source.transport is None or self._target.way.is_ended:
            target.close()
        elif target.can_write_eof():
            target.write_eof()

    def _pause(self) -> float | None:
        """Read from the source or leave it be; the moment from which it is to be read again."""
        if self._source.transport is None or self.is_ended:
            return None
        ahead = self._passed_at - self._loop.time()
        if ahead > MOST_AHEAD or self._line.held > MOST_HELD:
            self._source.transport.pause_reading()
            return self._passed_at - MOST_AHEAD / 2 if ahead > MOST_AHEAD else None
        self._source.transport.resume_reading()
        return None
