"""Storage in a dictionary. A worker stops at each call of it, and is told how that one ends."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import psycopg

from argosy.errors import (
    ChecksumMismatch,
    ObjectNotFound,
    StorageRefused,
    StorageUnavailable,
    UploadNotFound,
)
from argosy.storage.body import Body
from argosy.storage.s3 import ObjectHead, PendingUpload, StoredPart
from tests.steered.moments import Killed, Steered

Answer = TypeVar("Answer")
Place = tuple[str, str]

RETRY_SECONDS = 100.0


class Ends(StrEnum):
    """How a call of Storage ends."""

    WELL = "well"
    AWAY = "away"
    """Nothing is done: Storage cannot be reached."""
    UNHEARD = "unheard"
    """It is done, and the answer is lost."""
    REFUSED = "refused"
    """Nothing is done, and never will be."""
    LEAVING = "leaving"
    """The worker is asked to end, and its grace is over."""
    KILLED = "killed"
    """The worker dies before it."""
    KILLED_AFTER = "killed after"
    """The worker dies once it is done."""


class Caller(Steered):
    """A thread that stops before each call."""

    def stop_at(self, call: str) -> Ends:
        """Wait to be told how the call ends."""
        raise NotImplementedError


@dataclass
class Upload:
    """An unfinished multipart upload."""

    place: Place
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Stored:
    """An object."""

    content: bytes
    etag: str
    metadata: dict[str, str]


class Storage:
    """Objects and uploads; the rows of objects in the database too, as policies see them."""

    def __init__(self, url: str) -> None:
        self._rows = psycopg.connect(url, autocommit=True)
        self.objects: dict[Place, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self._count = 0

    def begin(self, place: Place) -> str:
        """A new upload's id."""
        self._count += 1
        self.uploads[f"upload-{self._count}"] = Upload(place)
        return f"upload-{self._count}"

    def add(self, place: Place, content: bytes, etag: str, metadata: Mapping[str, str]) -> str:
        """Store an object."""
        self.objects[place] = Stored(content, etag, dict(metadata))
        self._rows.execute(
            "INSERT INTO storage.objects (bucket_id, name, owner_id) VALUES (%s, %s, %s)"
            " ON CONFLICT (bucket_id, name) DO UPDATE SET updated_at = now()",
            (*place, place[1].partition("/")[0]),
        )
        return etag

    def remove(self, place: Place) -> None:
        """Remove an object, if it is there."""
        if self.objects.pop(place, None):
            self._rows.execute("SET session_replication_role = replica")
            self._rows.execute(
                "DELETE FROM storage.objects WHERE bucket_id = %s AND name = %s", place
            )
            self._rows.execute("SET session_replication_role = DEFAULT")

    def close(self) -> None:
        """Let go of the database."""
        self._rows.close()


def _read(body: Body) -> bytes:
    """A block may be a view of what the next block overwrites."""
    content = bytearray()
    for block in body.blocks():
        content += block
    return bytes(content)


def md5(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def etag_of_parts(parts: Sequence[str]) -> str:
    """The composite ETag of S3."""
    whole = md5(b"".join(bytes.fromhex(part) for part in parts))
    return f"{whole}-{len(parts)}"


class Store:
    """What `argosy.storage.s3.ObjectStore` is to the tasks, with its words for what went wrong."""

    def __init__(
        self, storage: Storage, outgoing: Callable[[Body], Body] = lambda body: body
    ) -> None:
        self._storage = storage
        self._outgoing = outgoing

    def put(self, bucket: str, key: str, body: Body, *, metadata: Any, **_rest: Any) -> str:
        """PutObject."""

        def work() -> str:
            content = _read(self._outgoing(body))
            return self._storage.add((bucket, key), content, md5(content), metadata)

        return _call("put", work)

    def create_multipart(self, bucket: str, key: str, **_rest: Any) -> str:
        """CreateMultipartUpload."""
        return _call("create", lambda: self._storage.begin((bucket, key)))

    def upload_part(self, bucket: str, key: str, upload_id: str, number: int, body: Body) -> str:
        """UploadPart."""

        def work() -> str:
            content = _read(self._outgoing(body))
            self._upload(bucket, key, upload_id).parts[number] = content
            return md5(content)

        return _call("part", work)

    def complete_multipart(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[StoredPart],
        **_rest: Any,
    ) -> str:
        """CompleteMultipartUpload; what was completed before is found again by its ETag."""

        def work() -> str:
            etag = etag_of_parts([part.etag for part in parts])
            there = self._storage.objects.get((bucket, key))
            if upload_id not in self._storage.uploads and there and there.etag == etag:
                return etag
            upload = self._upload(bucket, key, upload_id)
            wanted = {part.number: part.etag for part in parts}
            if {number: md5(upload.parts.get(number, b"?")) for number in wanted} != wanted:
                raise ChecksumMismatch(f"complete {key}: a part is missing or differs")
            del self._storage.uploads[upload_id]
            content = b"".join(upload.parts[number] for number in sorted(wanted))
            return self._storage.add((bucket, key), content, etag, {})

        return _call("complete", work)

    def abort_multipart(self, bucket: str, key: str, upload_id: str) -> None:
        """AbortMultipartUpload."""
        _call("abort", lambda: self._storage.uploads.pop(upload_id, None))

    def multipart_uploads(self, bucket: str, prefix: str) -> Iterator[PendingUpload]:
        """ListMultipartUploads."""

        def work() -> list[PendingUpload]:
            return [
                PendingUpload(upload.place[1], upload_id, None)
                for upload_id, upload in self._storage.uploads.items()
                if upload.place[0] == bucket and upload.place[1].startswith(prefix)
            ]

        return iter(_call("list", work))

    def head(self, bucket: str, key: str) -> ObjectHead:
        """HeadObject."""

        def work() -> ObjectHead:
            found = self._object(bucket, key)
            now = datetime.now(UTC)
            return ObjectHead(len(found.content), found.etag, "text/plain", found.metadata, now)

        return _call("head", work)

    def get(
        self, bucket: str, key: str, *, start: int = 0, length: int | None = None, **_rest: Any
    ) -> Iterator[bytes]:
        """GetObject."""

        def work() -> bytes:
            content = self._object(bucket, key).content
            return content[start : None if length is None else start + length]

        return iter([_call("get", work)])

    def copy(self, source: Place, bucket: str, key: str, *, metadata: Any, **_rest: Any) -> str:
        """CopyObject."""

        def work() -> str:
            content = self._object(*source).content
            return self._storage.add((bucket, key), content, md5(content), metadata)

        return _call("copy", work)

    def copy_part(
        self,
        source: Place,
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        start: int,
        length: int,
    ) -> str:
        """UploadPartCopy."""

        def work() -> str:
            content = self._object(*source).content[start : start + length]
            self._upload(bucket, key, upload_id).parts[number] = content
            return md5(content)

        return _call("copy part", work)

    def delete(self, bucket: str, key: str) -> None:
        """DeleteObject."""
        _call("delete", lambda: self._storage.remove((bucket, key)))

    def _upload(self, bucket: str, key: str, upload_id: str) -> Upload:
        upload = self._storage.uploads.get(upload_id)
        if upload is None or upload.place != (bucket, key):
            raise UploadNotFound(f"{key}: there is no upload {upload_id}")
        return upload

    def _object(self, bucket: str, key: str) -> Stored:
        found = self._storage.objects.get((bucket, key))
        if found is None:
            raise ObjectNotFound(f"{bucket}/{key} is not there")
        return found


def _call(name: str, work: Callable[[], Answer]) -> Answer:
    """One call, which ends as the test says. Raises Killed, StorageUnavailable, StorageRefused."""
    thread = threading.current_thread()
    ends = thread.stop_at(name) if isinstance(thread, Caller) else Ends.WELL
    if ends == Ends.KILLED:
        raise Killed
    if ends == Ends.AWAY:
        raise StorageUnavailable(f"{name}: Storage is away", None, RETRY_SECONDS)
    if ends == Ends.REFUSED:
        raise StorageRefused(f"{name}: Storage refuses")
    answer = work()
    if ends == Ends.KILLED_AFTER:
        raise Killed
    if ends == Ends.UNHEARD:
        raise StorageUnavailable(f"{name}: no answer", None, RETRY_SECONDS)
    return answer
