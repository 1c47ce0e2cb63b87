"""A file into Storage compressed: encoded as it is read, sent in parts, nothing on disk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from argosy.coding.encoder import Encoder
from argosy.derived import Encoding
from argosy.storage.body import BLOCK_BYTES
from argosy.storage.checksum import Checksums, Digest
from argosy.storage.parts import part_size_for
from argosy.storage.s3 import ObjectStore
from tasks.fleet import fleet

PART_BYTES = 8 * 1024 * 1024


def encoded_part_size(size: int) -> int:
    """Bytes in a part of a file of `size` bytes that is sent encoded.

    The setting does not count above 8 MiB: two parts are in memory.
    """
    return part_size_for(size, min(PART_BYTES, fleet().settings.part_size))


@dataclass(frozen=True)
class Part:
    """Bytes `offset` to `offset + length` of the stored object; `etag` is their MD5."""

    number: int
    offset: int
    length: int
    etag: str


@dataclass(frozen=True)
class Target:
    """Where the object goes, and in parts of how many bytes.

    Without an `upload_id` it is one body, which must fit in memory. `there` are the ETags
    of the parts that an earlier try has stored: those that come out the same are not sent
    again. `on_part` hears of each part that is stored, `on_wait` of the seconds that encoding
    stood still until one was. `approve` hears what it all comes to before the last of it is
    sent, and may raise.
    """

    store: ObjectStore
    bucket: str
    path: str
    content_type: str
    part_size: int
    metadata: Callable[[Checksums, Checksums], Mapping[str, str]]
    upload_id: str | None
    there: Mapping[int, str] = field(default_factory=dict)
    on_part: Callable[[Part], None] = lambda _part: None
    on_wait: Callable[[float], None] = lambda _seconds: None
    approve: Callable[[Checksums, Checksums], None] = lambda _file, _stored: None


@dataclass(frozen=True)
class Sent:
    """What the file comes to, what is stored of it, and in which parts."""

    file: Checksums
    stored: Checksums
    parts: tuple[Part, ...]


def send_encoded(
    target: Target,
    blocks: Iterable[bytes | memoryview],
    encoding: Encoding,
    level: int,
    check: Callable[[], None],
) -> Sent:
    """Encode the blocks of a file and send them. `check` may raise to stop it.

    Two parts are in memory at most: one is gathered while the other is sent. Raises what the
    blocks raise, and what `ObjectStore` raises.
    """
    encoder, digest = Encoder(encoding, level), Digest()
    with (
        ThreadPoolExecutor(1, thread_name_prefix="digest") as helper,
        _Parts(target) as parts,
    ):
        for block in blocks:
            check()
            beside = helper.submit(digest.update, block)
            for piece in encoder.update(block):
                parts.add(piece)
            beside.result()
        for piece in encoder.finish():
            parts.add(piece)
        return parts.finish(digest.checksums())


class _Parts:
    """Gathers stored bytes and sends them, a part at a time, in a thread beside the encoder."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._gathered, self._spare = Buffer(), Buffer()
        self._stored = Digest()
        self._parts: list[Part] = []
        self._sending: Future[None] | None = None
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="part")

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.shutdown()

    def add(self, piece: bytes) -> None:
        """The next stored bytes. A part is sent once it is full."""
        self._gathered.add(piece)
        self._stored.update(piece)
        if self._target.upload_id and self._gathered.size >= self._target.part_size:
            self._send_gathered()

    def finish(self, file: Checksums) -> Sent:
        """The rest; returns once all of it is stored."""
        stored = self._stored.checksums()
        self._target.approve(file, stored)
        if self._target.upload_id is None:
            self._put(file, stored)
        elif self._gathered.size:
            self._send_gathered()
        self._wait()
        return Sent(file, stored, tuple(self._parts))

    def _send_gathered(self) -> None:
        self._wait()
        body, self._gathered = self._gathered, self._spare.empty()
        self._spare = body  # until the next one is full it is sent
        offset = sum(part.length for part in self._parts)
        part = Part(len(self._parts) + 1, offset, body.size, body.md5)
        self._parts.append(part)
        self._sending = self._sender.submit(self._send, part, body)

    def _wait(self) -> None:
        if self._sending is None:
            return
        began = time.monotonic()
        try:
            self._sending.result()
        finally:
            self._target.on_wait(time.monotonic() - began)

    def _send(self, part: Part, body: Buffer) -> None:
        target = self._target
        if target.there.get(part.number) == part.etag:
            return
        target.store.upload_part(
            target.bucket, target.path, target.upload_id or "", part.number, body
        )
        target.on_part(part)

    def _put(self, file: Checksums, stored: Checksums) -> None:
        target, body = self._target, self._gathered
        etag = target.store.put(
            target.bucket,
            target.path,
            body,
            content_type=target.content_type,
            metadata=target.metadata(file, stored),
            md5=stored.md5,
        )
        part = Part(1, 0, body.size, etag)
        self._parts.append(part)
        target.on_part(part)


class Buffer:
    """The memory of one part, which is used again for a later one.

    What was encoded is copied into it: pieces of many sizes, kept until their part is sent,
    would leave a heap with holes that is several times as large.
    """

    def __init__(self) -> None:
        self.size = 0
        self._memory = bytearray()
        self._md5 = hashlib.md5(usedforsecurity=False)

    @property
    def md5(self) -> str:
        """Of all of it, in hexadecimal."""
        return self._md5.hexdigest()

    def add(self, piece: bytes) -> None:
        """The next bytes."""
        end = self.size + len(piece)
        if end > len(self._memory):
            self._memory.extend(bytes(end - len(self._memory)))
        self._memory[self.size : end] = piece
        self.size = end
        self._md5.update(piece)

    def blocks(self) -> Iterator[memoryview]:
        """A fresh pass, without a copy."""
        with memoryview(self._memory) as whole:
            for start in range(0, self.size, BLOCK_BYTES):
                with whole[start : min(start + BLOCK_BYTES, self.size)] as block:
                    yield block

    def empty(self) -> Buffer:
        """The same memory, for another part."""
        self.size, self._md5 = 0, hashlib.md5(usedforsecurity=False)
        return self
