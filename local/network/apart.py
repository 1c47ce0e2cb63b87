"""A proxy in a process of its own, so that it slows nobody but the connections through it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from local import ports
from local.network.line import Conditions
from local.network.proxy import Proxy
from local.ports import HOST


class Network:
    """The way to one server, and what it is like."""

    def __init__(self, port: int, told: Connection, pid: int) -> None:
        self.url = f"http://{HOST}:{port}"
        self.pid = pid
        self._told = told

    def change(self, conditions: Conditions) -> None:
        """From now on; connections that are open are reset."""
        self._told.send(conditions)
        self._told.recv()


@contextmanager
def network(upstream: int) -> Iterator[Network]:
    """A way to a port of this machine, as long as the context lasts."""
    ours, theirs = get_context("spawn").Pipe()
    port = ports.take()
    process = get_context("spawn").Process(
        target=_run, args=(port, upstream, theirs), name="network", daemon=True
    )
    process.start()
    try:
        yield Network(port, ours, pid=ours.recv())
    finally:
        process.terminate()
        process.join()
        process.close()
        ours.close()
        theirs.close()


def _run(port: int, upstream: int, told: Connection) -> None:
    asyncio.run(_serve(Proxy(port, upstream), told))


async def _serve(proxy: Proxy, told: Connection) -> None:
    await proxy.listen()

    def change() -> None:
        proxy.change(told.recv())
        told.send(None)

    asyncio.get_running_loop().add_reader(told.fileno(), change)
    told.send(os.getpid())
    await asyncio.Event().wait()
