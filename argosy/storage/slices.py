"""One PUT of a large body, of which Storage makes parts of its own on its way to an S3.

The ETag is then that of those parts. Their MD5s are taken while the body is sent, unless an
endpoint is known to leave bodies whole; where it cuts them otherwise, the body is read again,
and the size of its parts kept for the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from argosy.sizes import MIB
from argosy.storage.body import Body
from argosy.storage.checksum import SliceDigest, etag_agrees, parts_in
from argosy.storage.parts import count_parts

SLICE_BYTES = 16 * MIB
"""In parts of so many bytes Storage sends a larger body on to its S3, unless told otherwise."""
SLICES = tuple(mib * MIB for mib in (16, 5, 8, 10, 32, 64))
"""Sizes that it may have been told."""
OTHER_SLICES = tuple(mib * MIB for mib in range(5, 129) if mib * MIB not in SLICES)
"""Those that are looked for where none of these is it: once, for then the size is known."""

_seen: dict[str, int | None] = {}
"""By the URL of an endpoint, the bytes of the slices that it made last; None where it made none.
It changes what is computed when, and never what is accepted."""


class SentDigest:
    """MD5 of the bytes of one attempt, and of each of its slices where their size is given."""

    def __init__(self, slice_bytes: int | None = None) -> None:
        self._whole = hashlib.md5(usedforsecurity=False)
        self._slices = SliceDigest(slice_bytes) if slice_bytes else None

    def update(self, block: bytes | memoryview) -> None:
        """The next bytes.

        The whole comes last: where somebody writes into them meanwhile and it is still that of
        the bytes that were announced, so are the slices.
        """
        if self._slices:
            self._slices.update(block)
        self._whole.update(block)

    @property
    def md5(self) -> str:
        """Of all of it, in hexadecimal."""
        return self._whole.hexdigest()

    @property
    def slice_md5s(self) -> Sequence[str]:
        """Of each slice, in order; none where they were not taken."""
        return self._slices.md5s if self._slices else ()


def slice_bytes_of(url: str, body: Body) -> int | None:
    """Bytes of the slices that this endpoint is likely to cut a body into; None if it will not."""
    likely = _seen.get(url, SLICE_BYTES)
    return likely if likely and body.size > likely else None


def note_whole(url: str, body: Body) -> None:
    """This endpoint makes no slices of a body, or none that can be told: none are taken of it."""
    if body.size > SLICE_BYTES:
        _seen[url] = None


def agrees_in_slices(url: str, etag: str, body: Body, md5: str, sent: SentDigest) -> bool | None:
    """Whether a composite ETag is that of a body whose MD5 is `md5`, of which `sent` was sent.

    Unless what was sent says so, the body is read once more, and must still have that MD5.
    None where the ETag speaks of no parts, or of as many as no usual size makes. Raises what
    reading raises.
    """
    if sent.md5 == md5 and etag_agrees(etag, part_md5s=sent.slice_md5s or None):
        return True
    usual, others = _possible(etag, body.size)
    for sizes in (usual, others):
        read, found = _read_again(etag, body, sizes) if sizes else (md5, None)
        if read != md5:
            return False
        if found:
            _seen[url] = found
            return True
    if usual:
        return False
    note_whole(url, body)
    return None


def _possible(etag: str, size: int) -> tuple[Sequence[int], Sequence[int]]:
    """Sizes of slices of which a body has as many as the ETag says: usual ones, and others."""
    count = parts_in(etag)
    usual, others = (
        [each for each in sizes if count == count_parts(size, each)]
        for sizes in (SLICES, OTHER_SLICES)
    )
    return usual, others


def _read_again(etag: str, body: Body, sizes: Sequence[int]) -> tuple[str, int | None]:
    """The MD5 of a body, and the size of the slices that the ETag is of."""
    whole = hashlib.md5(usedforsecurity=False)
    cuts = {size: SliceDigest(size) for size in sizes}
    for block in body.blocks():
        whole.update(block)
        for cut in cuts.values():
            cut.update(block)
    found = (size for size, cut in cuts.items() if etag_agrees(etag, part_md5s=cut.md5s))
    return whole.hexdigest(), next(found, None)
