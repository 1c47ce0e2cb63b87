"""The one pooled HTTP client of a process.

A worker forks: sockets shared by two processes would mix their answers. So a client
belongs to the process that made it, and a child makes its own. Nothing here is locked,
since a lock held by another thread at the moment of a fork would stay held for ever.
"""

from __future__ import annotations

import atexit
import os
from dataclasses import dataclass

import httpx

from argosy.storage.sockets import widen


@dataclass(frozen=True)
class PoolSettings:
    """Limits and time-outs (seconds) of the pool.

    `read` and `write` bound the silence between two blocks, not a whole transfer;
    `wait` is for a free connection. `idle_seconds` is less than the minute after which
    gateways hang up: a new connection takes some round trips, which files of the next
    half minute need not wait for.
    """

    connect: float = 5.0
    read: float = 60.0
    write: float = 60.0
    wait: float = 60.0
    max_connections: int = 64
    max_idle: int = 16
    idle_seconds: float = 50.0


_clients: dict[tuple[int, PoolSettings], httpx.Client] = {}


def new_client(settings: PoolSettings | None = None) -> httpx.Client:
    """A client of the caller's own: HTTP/1.1, kept alive, never following a redirect."""
    chosen = settings or PoolSettings()
    client = httpx.Client(
        timeout=httpx.Timeout(
            connect=chosen.connect, read=chosen.read, write=chosen.write, pool=chosen.wait
        ),
        limits=httpx.Limits(
            max_connections=chosen.max_connections,
            max_keepalive_connections=chosen.max_idle,
            keepalive_expiry=chosen.idle_seconds,
        ),
        headers={"User-Agent": "argosy"},
    )
    return widen(client)


def client(settings: PoolSettings | None = None) -> httpx.Client:
    """The client that all threads of this process share; made on first use."""
    key = (os.getpid(), settings or PoolSettings())
    if (found := _clients.get(key)) is not None:
        return found
    _forget_parents(key[0])
    mine = new_client(key[1])
    shared = _clients.setdefault(key, mine)  # atomic: of two threads, one wins
    if shared is not mine:
        mine.close()
    return shared


def close() -> None:
    """Close this process's clients. The next call of `client` makes a new one."""
    for key in [key for key in _clients if key[0] == os.getpid()]:
        _clients.pop(key).close()


def _forget_parents(pid: int) -> None:
    """Drop what a fork inherited, unclosed: its pool's lock may be held by nobody alive."""
    for key in [key for key in _clients if key[0] != pid]:
        _clients.pop(key, None)


atexit.register(close)
