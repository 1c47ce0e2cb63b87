"""An HTTP server that does exactly what a test says, one step per request.

A step gets the request and the socket, and answers, lies, stalls or hangs up.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import parse_qsl, urlsplit

STATUS = {200: "OK", 204: "No Content", 206: "Partial Content", 404: "Not Found"}


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    reader: BinaryIO = field(repr=False)
    body_md5: str = ""
    body_bytes: int = 0
    body: bytes = b""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def content_length(self) -> int:
        return int(self.headers.get("content-length", "0"))

    def receive(self, limit: int | None = None) -> None:
        """Take the body (or its first `limit` bytes), hashed; keep it only when it is small."""
        wanted = self.content_length if limit is None else min(limit, self.content_length)
        md5 = hashlib.md5()
        buffer = bytearray(256 * 1024)
        while self.body_bytes < wanted:
            view = memoryview(buffer)[: wanted - self.body_bytes]
            count = self.reader.readinto(view)  # type: ignore[attr-defined]
            if not count:
                break
            md5.update(buffer[:count] if count < len(buffer) else buffer)
            if self.body_bytes + count <= 1024 * 1024:
                self.body += buffer[:count]
            self.body_bytes += count
        self.body_md5 = md5.hexdigest()


Step = Callable[[Request, socket.socket], bool | None]
"""Returns True to keep the connection open for another request."""


def answer(
    status: int = 200, body: bytes = b"", *, announced: int | None = None, **headers: str
) -> Step:
    """A plain answer. Header names: `content_type` stands for Content-Type."""

    def step(request: Request, connection: socket.socket) -> bool:
        request.receive()
        send_head(connection, status, announced if announced is not None else len(body), headers)
        if request.method != "HEAD":
            connection.sendall(body)
        return announced is None or announced == len(body)

    return step


def send_head(
    connection: socket.socket, status: int, length: int | None, headers: dict[str, str]
) -> None:
    lines = [f"HTTP/1.1 {status} {STATUS.get(status, 'Whatever')}"]
    if length is not None and status != 204:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())


def stored(etag: str | None = None) -> Step:
    """Take the body and answer with its MD5, or with the ETag given."""

    def step(request: Request, connection: socket.socket) -> bool:
        request.receive()
        send_head(connection, 200, 0, {"ETag": f'"{etag or request.body_md5}"'})
        return True

    return step


def reset(after: int | None = None, head: Step | None = None) -> Step:
    """Take `after` bytes of the body, then an RST."""

    def step(request: Request, connection: socket.socket) -> None:
        request.receive(after)
        if head:
            head(request, connection)
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    return step


def serve(content: bytes, etag: str = "v1", *, cut_after: int | None = None) -> Step:
    """An object, with Range; `cut_after` bytes of the answer the connection ends."""

    def step(request: Request, connection: socket.socket) -> bool:
        asked = request.headers.get("range")
        headers = {"ETag": f'"{etag}"'}
        if asked is None:
            part, status = content, 200
        else:
            first, last = asked.removeprefix("bytes=").split("-")
            end = int(last) + 1 if last else len(content)
            part, status = content[int(first) : end], 206
            stop = int(first) + len(part) - 1
            headers["Content-Range"] = f"bytes {first}-{stop}/{len(content)}"
        send_head(connection, status, len(part), headers)
        connection.sendall(part if cut_after is None else part[:cut_after])
        return cut_after is None

    return step


def error_xml(code: str, message: str = "it did not work") -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
        '<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Resource>b/k</Resource><Code>{code}</Code><Message>{message}</Message></Error>"
    ).encode()


def refuse(status: int, code: str, message: str = "it did not work", **headers: str) -> Step:
    return answer(status, error_xml(code, message), content_type="application/xml", **headers)


class ScriptedServer:
    """Runs one step per request, in order; the last one for ever after."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.steps: list[Step] = []
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._start(self._accept)

    @property
    def connections(self) -> int:
        """How many were ever opened."""
        return len(self._connections)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def script(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.requests.clear()

    def stall(self, *, before: bytes = b"") -> Step:
        """Say `before`, then nothing until the test is over."""

        def step(request: Request, connection: socket.socket) -> None:
            request.receive()
            connection.sendall(before)
            self.over.wait(30)

        return step

    def drip(self, headers: dict[str, str], every: float) -> Step:
        """A body of a mebibyte that comes byte by byte."""

        def step(request: Request, connection: socket.socket) -> None:
            send_head(connection, 200, 1024 * 1024, headers)
            while not self.over.wait(every):
                connection.sendall(b"x")

        return step

    def close(self) -> None:
        self.over.set()
        for ours in (self._socket, *self._connections):
            with suppress(OSError):
                ours.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._start(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            connection.settimeout(10)
            try:
                while (request := _read_head(reader)) and self._next(request)(request, connection):
                    pass
            except OSError:
                return

    def _next(self, request: Request) -> Step:
        with self._lock:
            self.requests.append(request)
            return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


def _read_head(reader: BinaryIO) -> Request | None:
    first = reader.readline().decode()
    if not first.strip():
        return None
    method, target, _ = first.split(" ")
    headers = {}
    while line := reader.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, target, headers, reader)
