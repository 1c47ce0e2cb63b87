"""Reads connections in larger pieces than the HTTP library asks for, in waits that can end.

It asks for 64 KiB at a time, and each piece costs a system call, a way through its parser and
our code, and a write to the disk. Pieces of 256 KiB halve the processor time of a download and
still fit into the processor's cache; larger ones gain nothing more.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import httpcore
import httpx

from argosy.storage.waits import heeded, in_short_waits

READ_BYTES = 256 * 1024
PATIENCE_SECONDS = 1.0
"""How long an answer is waited for all the same: without it what was sent is sent again."""


def widen(client: httpx.Client) -> httpx.Client:
    """Have a client that is new read so; the same client.

    httpx has no parameter for it. A version that keeps its pools elsewhere is as fast as it is.
    """
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)
        if backend := getattr(pool, "_network_backend", None):
            pool._network_backend = _WideBackend(backend)  # type: ignore[union-attr]
    return client


class _WideBackend(httpcore.NetworkBackend):
    """Makes connections as another one does, and wraps each."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _WideStream(
            self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        )

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return _WideStream(self._backend.connect_unix_socket(path, timeout, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(seconds)


class _WideStream(httpcore.NetworkStream):
    """A connection that gives `READ_BYTES` at a time where it has so many.

    What a thread does on it ends as the thread's policy says: see `heeding`.
    """

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._socket = _plain_socket(stream)
        self._written = -math.inf

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        receive = partial(self._stream.read, max(max_bytes, READ_BYTES))
        if (policy := heeded()) is None:
            return receive(timeout)

        def look() -> None:
            if not policy.left() or time.monotonic() - self._written > PATIENCE_SECONDS:
                policy.check()

        look()  # an answer that drips is never waited for
        return in_short_waits(receive, timeout, look)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        policy = heeded()
        if policy is None or self._socket is None:
            self._stream.write(buffer, timeout)
        else:
            left = memoryview(buffer)
            while left:
                send = partial(_send, self._socket, left)
                left = left[in_short_waits(send, timeout, policy.check) :]
        self._written = time.monotonic()

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        return _WideStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _plain_socket(stream: httpcore.NetworkStream) -> socket.socket | None:
    """What the stream writes to, where it has no layer of its own above it, as proxies ask for."""
    found: socket.socket | None = stream.get_extra_info("socket")
    is_plain = getattr(found, "_sslobj", None) is stream.get_extra_info("ssl_object")
    return found if is_plain else None


def _send(to: socket.socket, content: memoryview, timeout: float) -> int:
    """Bytes that were taken: none are where it raises WriteTimeout."""
    try:
        to.settimeout(timeout)
        return to.send(content)
    except TimeoutError as error:
        raise httpcore.WriteTimeout(error) from error
    except OSError as error:
        raise httpcore.WriteError(error) from error
