"""SHA-256 and MD5 of a stream, and what an ETag says about them."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from argosy.storage.body import BLOCK_BYTES, read_range

EMPTY_MD5 = hashlib.md5(b"", usedforsecurity=False).hexdigest()
AHEAD = 4
"""Blocks by which SHA-256 may be ahead of the slower MD5: it need not be woken for each."""

_MD5 = re.compile(r"[0-9a-f]{32}")
_COMPOSITE = re.compile(r"([0-9a-f]{32})-([1-9][0-9]*)")


@dataclass(frozen=True)
class Checksums:
    """What a whole file comes to; both digests in lower-case hexadecimal."""

    sha256: str
    md5: str
    size: int


class Digest:
    """SHA-256 and MD5 of a stream, in one pass."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size = 0

    def update(self, block: bytes | memoryview) -> None:
        """The next bytes of the stream."""
        self._sha256.update(block)
        self._md5.update(block)
        self.size += len(block)

    def update_beside(self, block: bytes | memoryview, helper: ThreadPoolExecutor) -> Future[None]:
        """The same, with the MD5 in `helper`, which has one thread; the block must stay as it is.

        `md5` and `checksums` are right once the future is done.
        """
        beside = helper.submit(self._md5.update, block)
        self._sha256.update(block)
        self.size += len(block)
        return beside

    @property
    def sha256(self) -> str:
        """SHA-256 so far, in hexadecimal."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """MD5 so far, in hexadecimal."""
        return self._md5.hexdigest()

    def checksums(self) -> Checksums:
        """All of it so far."""
        return Checksums(self.sha256, self.md5, self.size)


def digest_file(fd: int, size: int, on_bytes: Callable[[int], None] | None = None) -> Checksums:
    """Read `size` bytes of a file once, with SHA-256 and MD5 on two cores if it has many.

    At most `AHEAD` blocks and one are in memory. `on_bytes` hears the size of each block.
    Raises SourceChanged if the file ends early, SourceUnreadable if the disk fails.
    """
    blocks = read_range(fd, 0, size)
    if size > BLOCK_BYTES:
        return digest_blocks(blocks, on_bytes)
    digest = Digest()  # a thread would take longer than its bytes
    for block in blocks:
        digest.update(block)
        if on_bytes:
            on_bytes(len(block))
    return digest.checksums()


def digest_blocks(
    blocks: Iterable[bytes | memoryview], on_bytes: Callable[[int], None] | None = None
) -> Checksums:
    """The same of any blocks that stay as they are; raises what they raise."""
    digest, beside = Digest(), deque[Future[None]]()
    with ThreadPoolExecutor(1, thread_name_prefix="md5") as helper:
        for block in blocks:  # the next ones are read while MD5 is busy
            if len(beside) == AHEAD:
                beside.popleft().result()
            beside.append(digest.update_beside(block, helper))
            if on_bytes:
                on_bytes(len(block))
    return digest.checksums()


def sha256_file(fd: int, size: int, on_bytes: Callable[[int], None] | None = None) -> str:
    """SHA-256 of `size` bytes of a file, in hexadecimal, read once.

    `on_bytes` hears the size of each block. Raises SourceChanged if the file ends
    early, SourceUnreadable if the disk fails.
    """
    return sha256_blocks(read_range(fd, 0, size), on_bytes)


def sha256_blocks(
    blocks: Iterable[bytes | memoryview], on_bytes: Callable[[int], None] | None = None
) -> str:
    """The same of any blocks; raises what they raise."""
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
        if on_bytes:
            on_bytes(len(block))
    return digest.hexdigest()


def plain_etag(etag: str) -> str:
    """An ETag without its quotes and without the mark of a weak one (RFC 9110, 8.8.3)."""
    return etag.strip().removeprefix("W/").strip('"')


def composite_etag(md5s: Sequence[str]) -> str:
    """The ETag that S3 gives an object made of parts: `md5(md5s)-N`."""
    joined = b"".join(bytes.fromhex(md5) for md5 in md5s)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(md5s)}"


class SliceDigest:
    """MD5 of each `size` bytes of a stream; the last slice may have fewer."""

    def __init__(self, size: int) -> None:
        self._size = self._room = size
        self._digests = [hashlib.md5(usedforsecurity=False)]

    def update(self, block: bytes | memoryview) -> None:
        """The next bytes of the stream."""
        rest = memoryview(block)
        while rest:
            if not self._room:
                self._digests.append(hashlib.md5(usedforsecurity=False))
                self._room = self._size
            self._digests[-1].update(rest[: self._room])
            taken = min(self._room, len(rest))
            rest, self._room = rest[taken:], self._room - taken

    @property
    def md5s(self) -> list[str]:
        """Of each slice, in order, in hexadecimal."""
        return [digest.hexdigest() for digest in self._digests]


def parts_in(etag: str) -> int | None:
    """How many parts a composite ETag speaks of; None for any other."""
    composite = _COMPOSITE.fullmatch(plain_etag(etag).lower())
    return int(composite[2]) if composite else None


def etag_agrees(
    etag: str,
    *,
    md5: str | None = None,
    part_md5s: Sequence[str] | None = None,
    parts: int | None = None,
) -> bool | None:
    """Whether an ETag is that of these bytes: True, False, or None where it does not say.

    Storage gives three forms: the MD5 of the whole (one PUT; the file backend also
    for parts), `md5(md5s)-N` (parts on the s3 backend, and one PUT of over 16 MiB), and
    `<mtime>-<size>` (the file backend set to `mtime`), which says nothing about the
    bytes. Knowing only the number of parts can refute a composite, never confirm it.
    """
    plain = plain_etag(etag).lower()
    if _MD5.fullmatch(plain):
        return None if md5 is None else plain == md5.lower()
    if composite := _COMPOSITE.fullmatch(plain):
        if part_md5s is not None and all(_MD5.fullmatch(md5) for md5 in part_md5s):
            return plain == composite_etag(part_md5s)
        if parts is not None and int(composite[2]) != parts:
            return False
    return None
