"""ETags as S3 makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def composite(digests: Sequence[bytes]) -> str:
    """Return the ETag of an object that was stored in parts with these MD5s."""
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{whole}-{len(digests)}"


class Etag:
    """The ETag of a body, computed as it arrives.

    Storage sends a body on to its S3 in parts of its own as soon as it has more than
    `part_size` bytes; then the ETag is not the MD5 of the body, but composite.
    """

    def __init__(self, part_size: int | None = None) -> None:
        self._part_size = part_size
        self._digests: list[bytes] = []
        self._begin_part()

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        rest = memoryview(chunk)
        while self._part_size and self._filled + len(rest) > self._part_size:
            room = self._part_size - self._filled
            self._md5.update(rest[:room])
            self._digests.append(self._md5.digest())
            self._begin_part()
            rest = rest[room:]
        self._md5.update(rest)
        self._filled += len(rest)

    def value(self) -> str:
        """Return the ETag, without quotes."""
        if not self._digests:
            return self._md5.hexdigest()
        return composite([*self._digests, self._md5.digest()])

    def _begin_part(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._filled = 0
