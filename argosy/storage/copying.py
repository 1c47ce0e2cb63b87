"""Copies inside Storage: no byte comes here, unless Storage cannot copy a part itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from argosy.errors import StorageRefused, StorageUnavailable
from argosy.storage.parts import part_ranges
from argosy.storage.s3 import ObjectHead, ObjectStore, StoredPart

log = logging.getLogger(__name__)

Place = tuple[str, str]
"""Bucket and path."""


@dataclass(frozen=True)
class Source:
    """One version of one object, `size` bytes long."""

    bucket: str
    path: str
    size: int
    etag: str

    @classmethod
    def of_head(cls, place: Place, head: ObjectHead) -> Source:
        """As Storage has it now."""
        return cls(*place, head.size, head.etag)

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.bucket, self.path


class ObjectRange:
    """A body over a range of a stored object: each pass fetches it anew, block by block.

    `on_bytes` hears the size of each block that went by; it may raise to stop the transfer.
    """

    def __init__(
        self,
        store: ObjectStore,
        source: Source,
        start: int,
        length: int,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        self.size = length
        self._store = store
        self._source = source
        self._start = start
        self._on_bytes = on_bytes

    def blocks(self) -> Iterator[bytes]:
        """A fresh pass. Raises ObjectChanged, and what reading raises."""
        found = self._store.get(
            *self._source.place, start=self._start, length=self.size, etag=self._source.etag
        )
        for block in found:
            yield block
            if self._on_bytes:
                self._on_bytes(len(block))


def copy_part(
    store: ObjectStore,
    source: Source,
    target: Place,
    upload_id: str,
    number: int,
    *,
    start: int,
    length: int,
    on_bytes: Callable[[int], None] | None = None,
) -> str:
    """Make part `number` of an upload of a range of the source; returns the part's ETag.

    By UploadPartCopy. Storage has versions that answer 500 to it where the two buckets
    differ (its code 3B001): then the range comes through here, a block at a time. Where
    Storage is away, that fails too. Raises ObjectChanged, and what copying and sending raise.
    """
    try:
        return store.copy_part(source.place, *target, upload_id, number, start=start, length=length)
    except (StorageUnavailable, StorageRefused) as error:
        log.warning("copy.streamed", extra={"number": number, "reason": str(error)})
    body = ObjectRange(store, source, start, length, on_bytes)
    return store.upload_part(*target, upload_id, number, body)


def copy_parts(
    store: ObjectStore,
    source: Source,
    target: Place,
    upload_id: str,
    part_size: int,
    check: Callable[[], None],
) -> list[StoredPart]:
    """Copy every part of an upload, one after another. `check` may raise to stop between them."""
    parts = []
    for number, (start, length) in enumerate(part_ranges(source.size, part_size), 1):
        check()
        etag = copy_part(
            store,
            source,
            target,
            upload_id,
            number,
            start=start,
            length=length,
            on_bytes=lambda _count: check(),
        )
        parts.append(StoredPart(number, etag))
    return parts


def copy_object(
    store: ObjectStore,
    source: Source,
    target: Place,
    *,
    content_type: str,
    metadata: Mapping[str, str],
    largest: int,
    part_size: int,
    check: Callable[[], None],
) -> None:
    """Copy a whole object: at once, or in parts where it has more than `largest` bytes.

    S3's CopyObject takes at most 5 GiB.

    Parts that are left of an earlier try are the caller's to abort.
    """
    if source.size <= largest:
        store.copy(source.place, *target, content_type=content_type, metadata=metadata)
        return
    upload_id = store.create_multipart(*target, content_type=content_type, metadata=metadata)
    parts = copy_parts(store, source, target, upload_id, part_size, check)
    store.complete_multipart(*target, upload_id, parts, size=source.size)
