"""One object on an HTTP server of the test's own, that says what it sent and fails as told."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from argosy.account import Account
from argosy.naming import object_name
from argosy.reference import FileReference
from argosy.settings import AgentSettings
from tests.unit.storage.scripted import Request, ScriptedServer, Step, send_head

TOKEN = (
    "eyJhbGciOiJIUzI1NiJ9."
    "eyJzdWIiOiI1YTZkMGUzYi0zYzRmLTRkYTYtOGQ1My0wYzYyYWE5ZGIzNDIifQ.c2lnbmF0dXJl"
)
BLOCK = 256 * 1024
OWNER = UUID("5a6d0e3b-3c4f-4da6-8d53-0c62aa9db342")


def no_fault(_request: Request) -> Step | None:
    return None


@dataclass
class StoredObject:
    """A step that serves a file for ever; `fault` may have another step answer a request."""

    content: Path
    etag: str = "v1"
    fault: Callable[[Request], Step | None] = no_fault
    ranges: list[tuple[int, int]] = field(default_factory=list)
    """First byte and end of every GET."""
    sent: int = 0
    """Bytes of bodies."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request, connection: socket.socket) -> bool | None:
        if step := self.fault(request):
            return step(request, connection)
        size = self.content.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        first = int(asked[1]) if asked else 0
        end = int(asked[2]) + 1 if asked and asked[2] else size
        headers = {"ETag": f'"{self.etag}"', "Last-Modified": "Sun, 22 Nov 2026 10:00:00 GMT"}
        if asked:
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
        send_head(connection, 206 if asked else 200, end - first, headers)
        if request.method == "GET":
            with self._lock:
                self.ranges.append((first, end))
            self._send(connection, first, end)
        return True

    def _send(self, connection: socket.socket, offset: int, end: int) -> None:
        with self.content.open("rb") as file:
            while offset < end:
                block = os.pread(file.fileno(), min(BLOCK, end - offset), offset)
                with self._lock:  # first: whoever has the bytes may look at once
                    self.sent += len(block)
                connection.sendall(block)
                offset += len(block)


def make_content(path: Path, size: int) -> Path:
    """A file of so many bytes, of which no two blocks are equal."""
    noise = os.urandom(BLOCK - 8)
    with path.open("wb") as file:
        for number in range(-(-size // BLOCK)):
            file.write(number.to_bytes(8, "big") + noise)
        file.truncate(size)
    return path


def reference_to(content: Path, name: str = "cargo.bin", bucket: str = "b") -> FileReference:
    """A true reference to a file that somebody has stored."""
    with content.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    number = uuid4()
    return FileReference(
        id=number,
        bucket=bucket,
        path=object_name(OWNER, number, name),
        name=name,
        size=content.stat().st_size,
        content_type="application/octet-stream",
        sha256=sha256,
        owner=OWNER,
        created_at=datetime.now(UTC),
        chunk_size=content.stat().st_size,
        chunk_count=1,
    )


def account_on(server: ScriptedServer, folder: Path, **changes: object) -> Account:
    """Who asks this server, as an agent of its own."""
    settings = AgentSettings(
        supabase_url=server.url,
        supabase_anon_key="anon-key",
        broker_url="amqp://127.0.0.1:1",
        result_url="redis://127.0.0.1:1",
        journal_dir=folder / "journal",
        cache_dir=folder / "cache",
        storage_deadline_seconds=5,
    )
    return Account(settings.model_copy(update=changes), lambda: TOKEN)
