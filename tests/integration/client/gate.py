"""A proxy in front of Storage that counts what passes, and answers, cuts or holds as told."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

BLOCK = 256 * 1024


@dataclass
class Passing:
    """One request on its way through; `sent` are the bytes of its body that came in."""

    method: str
    target: str
    length: int
    sent: int = 0
    status: int = 0
    held: bool = False

    @property
    def part(self) -> int | None:
        """The number of the part that it carries."""
        numbers = parse_qs(urlsplit(self.target).query).get("partNumber")
        return int(numbers[0]) if numbers and self.method == "PUT" else None

    @property
    def is_put(self) -> bool:
        """Whether it carries a whole object or a part of one."""
        return self.method == "PUT"

    @property
    def is_completion(self) -> bool:
        return self.method == "POST" and "uploadId" in self.target


Fault = Callable[[Passing], "bytes | int | None"]
"""What befalls a request: an answer instead of Storage's, a reset after so many bytes of its
body, or nothing."""


def answer(status: int, body: str, **headers: str) -> bytes:
    """An answer that a gateway might give."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


class Gate:
    """Listens on a port of its own; what passes is in `passed`."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.passed: list[Passing] = []
        self.fault: Fault = lambda _passing: None
        self.lose: Callable[[Passing], bool] = lambda _passing: False
        """Whose answers never arrive: the connection is cut instead."""
        self.hold: Callable[[Passing], bool] = lambda _passing: False
        """Which requests wait, half of their body passed on, until `released` is set."""
        self.released = threading.Event()
        self.drops_held = False
        """Whether what was held is lost with its sender, and not what lay in sockets passed on."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        # What is held is held at its sender, and not in a buffer that takes the rest of a part.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BLOCK)
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def stored_parts(self) -> Counter[int]:
        """How often Storage answered that it has a part."""
        with self._lock:
            return Counter(each.part for each in self.passed if each.part and each.status == 200)

    @property
    def asked_parts(self) -> Counter[int]:
        """How often a part was begun to be sent."""
        with self._lock:
            return Counter(each.part for each in self.passed if each.part)

    @property
    def body_bytes(self) -> int:
        """Bytes of objects that came in."""
        with self._lock:
            return sum(each.sent for each in self.passed if each.is_put)

    def close(self) -> None:
        self.released.set()
        with self._lock:
            ours = [self._listener, *self._open]
        for each in ours:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        threading.Thread(target=target, args=arguments, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._start(self._serve, connection)

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(self._upstream) as server:
            with self._lock:
                self._open |= {client, server}
            with client.makefile("rb") as from_client, server.makefile("rb") as from_server:
                while self._pass(client, from_client, server, from_server):
                    pass

    def _pass(
        self, client: socket.socket, asked: BinaryIO, server: socket.socket, said: BinaryIO
    ) -> bool:
        head = _head(asked)
        if not head:
            return False
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        passing = Passing(method, target, _length(head))
        with self._lock:
            self.passed.append(passing)
        fault = self.fault(passing)
        if isinstance(fault, int):
            self._reset(client, asked, passing, fault)
            return False
        if isinstance(fault, bytes):
            for _ in _body(asked, passing):
                pass
            client.sendall(fault)
            return True
        server.sendall(head)
        is_held = self.hold(passing)
        for block in _body(asked, passing):
            server.sendall(block)
            if is_held and passing.sent >= passing.length // 2:
                passing.held = True
                self.released.wait()
                if self.drops_held:
                    raise ConnectionError
        answered = _head(said)  # Storage has done it by now, whether anybody hears of that or not
        if self.lose(passing):
            return False
        return _relay(answered, said, client, passing)

    def _reset(self, client: socket.socket, asked: BinaryIO, passing: Passing, after: int) -> None:
        for _ in _body(asked, passing, after):
            pass
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _head(stream: BinaryIO) -> bytes:
    lines = b""
    while line := stream.readline():
        lines += line
        if line == b"\r\n":
            return lines
    return b""


def _length(head: bytes) -> int:
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return int(found[1]) if found else 0


def _body(stream: BinaryIO, passing: Passing, limit: int | None = None) -> Iterator[bytes]:
    wanted = passing.length if limit is None else min(limit, passing.length)
    while passing.sent < wanted:
        block = stream.read1(min(BLOCK, wanted - passing.sent))  # type: ignore[attr-defined]
        if not block:
            raise ConnectionError
        passing.sent += len(block)
        yield block


def _relay(head: bytes, said: BinaryIO, client: socket.socket, passing: Passing) -> bool:
    if not head:
        return False
    passing.status = int(head.split(b" ")[1])
    client.sendall(head)
    if passing.method == "HEAD" or passing.status in (204, 304):
        return True
    assert b"chunked" not in head.lower(), "Storage's S3 answers say how long they are"
    left = _length(head)
    while left:
        block = said.read1(min(BLOCK, left))  # type: ignore[attr-defined]
        if not block:
            return False
        left -= len(block)
        client.sendall(block)
    return True


@contextmanager
def gate_to(upstream: str) -> Iterator[Gate]:
    """A gate, closed afterwards."""
    made = Gate(upstream)
    try:
        yield made
    finally:
        made.close()
