"""The data plane: every byte, up and down, over Supabase Storage's S3 protocol.

One object store speaks for one user, so that row-level security decides on every
request. It holds no connection of its own, may be shared by threads, survives a fork,
and its memory does not depend on the size of what it moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from argosy.errors import (
    ChecksumMismatch,
    InvalidRequest,
    ObjectNotFound,
    StorageUnavailable,
    TransitCorruption,
    UploadNotFound,
)
from argosy.storage import documents, metadata, traits
from argosy.storage.body import Body, BytesBody
from argosy.storage.checksum import EMPTY_MD5, etag_agrees, plain_etag
from argosy.storage.documents import PendingUpload, StoredPart
from argosy.storage.reading import Reading, length_of
from argosy.storage.retry import RetryPolicy
from argosy.storage.signing import Endpoint
from argosy.storage.slices import SentDigest, agrees_in_slices, note_whole, slice_bytes_of
from argosy.storage.wire import Answer, Call, Sending, Wire, checked_key

__all__ = ["Endpoint", "ObjectHead", "ObjectStore", "PendingUpload", "RetryPolicy", "StoredPart"]


_COMPLETION_SECONDS = 900.0
"""A backend of files copies the whole object before it answers CompleteMultipartUpload."""


@dataclass(frozen=True)
class ObjectHead:
    """What Storage knows about an object: `size` in bytes, `etag` without quotes."""

    size: int
    etag: str
    content_type: str
    metadata: dict[str, str]
    last_modified: datetime


class ObjectStore:
    """Objects, as one user may see and change them.

    `token` gives that user's current access token; it is asked before every request.
    Every method repeats what is worth repeating, as `retries` says, and then raises the
    last error: StorageUnavailable when Storage cannot be reached, AccessDenied,
    InvalidToken, BucketNotFound, ObjectNotFound, StorageRefused and what is named below.
    `outgoing` makes of a body what each attempt sends of it: it may take its time.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        token: Callable[[], str],
        *,
        http: httpx.Client | None = None,
        retries: RetryPolicy | None = None,
        stall_seconds: float = 60.0,
        outgoing: Callable[[Body], Body] = lambda body: body,
    ) -> None:
        self._retries = retries or RetryPolicy()
        self._url = endpoint.url
        self._wire = Wire(endpoint, token, http, self._retries)
        self._stall_seconds = stall_seconds
        self._outgoing = outgoing

    def put(
        self,
        bucket: str,
        key: str,
        body: Body,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        md5: str | None = None,
    ) -> str:
        """Store a whole object (PutObject) and return its ETag. An existing one is replaced.

        The ETag is compared with `md5` (hexadecimal), or without it with the MD5 of the
        bytes sent, computed on the way; a composite one with the MD5s of the parts that
        Storage makes of a large body (see `slices`). One that says nothing of these bytes
        is taken as it is. Raises TransitCorruption, ObjectTooLarge, TypeNotAllowed,
        SourceChanged.
        """
        call = Call("put", "PUT", bucket, key, headers=_described(content_type, metadata))
        return self._send_checked(call, body, md5=md5)

    def create_multipart(
        self, bucket: str, key: str, *, content_type: str, metadata: Mapping[str, str]
    ) -> str:
        """Begin a multipart upload (CreateMultipartUpload) and return its id.

        Not idempotent, repeated all the same: an attempt whose answer got lost leaves an
        upload without parts. It costs no bytes, but blocks the deletion of the bucket;
        `multipart_uploads` with the key as prefix finds it. Raises TypeNotAllowed.
        """
        headers = _described(content_type, metadata)
        call = Call("begin", "POST", bucket, key, query={"uploads": ""}, headers=headers)
        answer = self._ask(call)
        return documents.text_of(call.what, documents.parse(call.what, answer.body), "UploadId")

    def upload_part(self, bucket: str, key: str, upload_id: str, number: int, body: Body) -> str:
        """Send part `number`, 1 to 10,000 (UploadPart), and return its ETag: the MD5 of its bytes.

        A repeated part replaces the former. Raises TransitCorruption when the ETag is
        not that MD5, UploadNotFound, ObjectTooLarge (repeats count towards the bucket's
        limit), SourceChanged.
        """
        query = {"partNumber": str(number), "uploadId": upload_id}
        call = Call(f"part {number} of", "PUT", bucket, key, query)
        try:
            return self._send_checked(call, body, is_part=True)
        except ObjectNotFound as error:  # the S3 beneath Storage says so, in its own way
            raise UploadNotFound(error.message) from error

    def complete_multipart(
        self,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[StoredPart],
        *,
        size: int | None = None,
        md5: str | None = None,
    ) -> str:
        """Make the object out of its parts (CompleteMultipartUpload) and return its ETag.

        Idempotent, though the protocol is not: when the upload is gone, an object whose
        ETag is that of these parts (or of `md5`), or whose ETag does not say but whose
        `size` is the given one, is taken for the result. Raises InvalidRequest unless the
        parts are 1, 2, 3, …; ChecksumMismatch when a part is missing or differs;
        UploadNotFound.
        """
        expected = _Expected([plain_etag(part.etag) for part in parts], size, md5)
        try:
            etag = self._complete(bucket, key, upload_id, parts)
        except (UploadNotFound, ObjectNotFound):  # the latter in the words of the S3 beneath
            return self._completed_before(bucket, key, expected)
        if expected.agrees(etag) is False:
            raise ChecksumMismatch(f"complete {bucket}/{key}: ETag {etag} is not that of the parts")
        return etag

    def abort_multipart(self, bucket: str, key: str, upload_id: str) -> None:
        """Give up a multipart upload (AbortMultipartUpload); one that is gone is fine."""
        call = Call("abort", "DELETE", bucket, key, {"uploadId": upload_id})
        try:
            self._ask(call)
        except (UploadNotFound, ObjectNotFound):  # the latter in the words of the S3 beneath
            return

    def multipart_uploads(self, bucket: str, prefix: str) -> Iterator[PendingUpload]:
        """Unfinished uploads of keys that begin so (ListMultipartUploads), page by page.

        Row-level security applies: an agent may see none; sweep with the service role.
        """
        markers: dict[str, str] | None = {}
        while markers is not None:
            query = {"uploads": "", "prefix": prefix, **markers}
            call = Call("list uploads of", "GET", bucket, query=query)
            page = documents.uploads_page(call.what, self._ask(call).body)
            yield from (upload for upload in page.uploads if upload.key.startswith(prefix))
            markers = page.next_markers

    def head(self, bucket: str, key: str) -> ObjectHead:
        """What Storage knows about an object (HeadObject).

        Answers to HEAD have no body: a bucket that is missing looks like a missing
        object, and an expired token like AccessDenied.
        """
        call = Call("look at", "HEAD", bucket, key)
        headers = self._ask(call).headers
        etag = plain_etag(headers.get("etag", ""))
        # Of an empty object many a Storage leaves the length out.
        is_empty = etag == EMPTY_MD5 and "content-length" not in headers
        return ObjectHead(
            size=0 if is_empty else length_of(call, headers),
            etag=etag,
            content_type=headers.get("content-type", ""),
            metadata=metadata.from_headers(headers),
            last_modified=_date(headers.get("last-modified", "")),
        )

    def get(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        length: int | None = None,
        etag: str | None = None,
    ) -> Iterator[bytes]:
        """The bytes from `start` on, `length` of them or to the end (GetObject), in blocks.

        A connection cut in the middle is continued; every MiB that arrives renews the
        retry budget. Every answer must be of version `etag`, by default that of the first
        one; otherwise raises ObjectChanged. Raises StorageRefused when the range does not
        lie within the object or is not honoured. Close the iterator to stop early.
        """
        reading = Reading(
            self._wire,
            Call("get", "GET", bucket, key),
            start=start,
            length=length,
            etag=etag,
            retries=self._retries,
            stall_seconds=self._stall_seconds,
        )
        return reading.blocks()

    def copy(
        self,
        source: tuple[str, str],
        bucket: str,
        key: str,
        *,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> str:
        """Copy `source`, a bucket and a key, inside Storage (CopyObject) and return the new ETag.

        The copy is described anew. At most 5 GiB; the bytes are those of one version, but
        which one is for the caller to check. Raises ObjectTooLarge, TypeNotAllowed.
        """
        headers = _described(content_type, metadata) | _copy_source(source)
        headers["x-amz-metadata-directive"] = "REPLACE"
        call = Call("copy to", "PUT", bucket, key, {}, headers, _COMPLETION_SECONDS)
        return self._retries.run(lambda: _completed_etag(call, self._wire.answer(call).body))

    def copy_part(
        self,
        source: tuple[str, str],
        bucket: str,
        key: str,
        upload_id: str,
        number: int,
        *,
        start: int,
        length: int,
    ) -> str:
        """Make a part of `length` bytes of another object (UploadPartCopy); returns its ETag."""
        headers = _copy_source(source)
        headers["x-amz-copy-source-range"] = f"bytes={start}-{start + length - 1}"
        query = {"partNumber": str(number), "uploadId": upload_id}
        what = f"copy part {number} of"
        call = Call(what, "PUT", bucket, key, query, headers, _COMPLETION_SECONDS)
        return self._retries.run(lambda: _completed_etag(call, self._wire.answer(call).body))

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object (DeleteObject); an absent one is fine."""
        try:
            self._ask(Call("delete", "DELETE", bucket, key))
        except ObjectNotFound:
            return

    def _ask(self, call: Call) -> Answer:
        return self._retries.run(lambda: self._wire.answer(call))

    def _send_checked(
        self, call: Call, body: Body, *, md5: str | None = None, is_part: bool = False
    ) -> str:
        """Send a body until its ETag is right, with a fresh pass each time.

        A part's must be its MD5; a whole body's may be that of slices, or say nothing.
        """

        def attempt() -> str:
            etag, sent = self._send(call, body, hashed=md5 is None, is_part=is_part)
            wanted = md5 or sent.md5
            agrees = etag_agrees(etag, md5=wanted)
            if agrees is None:
                agrees = agrees_in_slices(self._url, etag, body, wanted, sent)
            elif agrees and not is_part:
                note_whole(self._url, body)
            if agrees is False or (is_part and agrees is None):
                raise TransitCorruption(
                    f"{call.what}: the ETag in the answer is not the MD5 of the bytes sent; "
                    "send them again"
                )
            return etag

        return self._retries.run(attempt)

    def _send(
        self, call: Call, body: Body, *, hashed: bool, is_part: bool
    ) -> tuple[str, SentDigest]:
        """Send a body once: the ETag of the answer, and the digest of what was sent if `hashed`.

        It is taken as well where slices are likely to be asked for.
        """
        slice_bytes = None if is_part else slice_bytes_of(self._url, body)
        sent = SentDigest(slice_bytes)
        hashing = sent.update if hashed or slice_bytes else None
        sending = Sending(self._outgoing(body), hashing, beside=not is_part)
        etag = plain_etag(self._wire.answer(call, sending).headers.get("etag", ""))
        if not etag or not sending.is_whole:
            wrong = "came before all bytes were sent" if etag else "has no ETag"
            raise StorageUnavailable(
                f"{call.what}: the answer {wrong}, so it is not Storage's; try again later"
            )
        return etag, sent

    def _complete(self, bucket: str, key: str, upload_id: str, parts: Sequence[StoredPart]) -> str:
        # Without this header Storage ignores the list and takes whatever parts it has.
        headers = {"Content-Type": "application/xml"}
        query = {"uploadId": upload_id}
        call = Call("complete", "POST", bucket, key, query, headers, _COMPLETION_SECONDS)
        document = BytesBody(documents.completion(parts))

        def attempt() -> str:
            return _completed_etag(call, self._wire.answer(call, Sending(document)).body)

        return self._retries.run(attempt)

    def _completed_before(self, bucket: str, key: str, expected: _Expected) -> str:
        try:
            found = self.head(bucket, key)
        except ObjectNotFound:
            found = None
        if found is None or not expected.is_met_by(found):
            raise UploadNotFound(
                f"complete {bucket}/{key}: the upload is gone and no such object is there; "
                "start anew"
            )
        return found.etag


@dataclass(frozen=True)
class _Expected:
    """What a completed object must look like."""

    part_md5s: Sequence[str]
    size: int | None
    md5: str | None

    def agrees(self, etag: str) -> bool | None:
        return etag_agrees(etag, md5=self.md5, part_md5s=self.part_md5s)

    def is_met_by(self, head: ObjectHead) -> bool:
        if self.size is not None and head.size != self.size:
            return False
        agrees = self.agrees(head.etag)
        return self.size is not None if agrees is None else agrees


def _described(content_type: str, user_metadata: Mapping[str, str]) -> dict[str, str]:
    if not (content_type.isascii() and content_type.isprintable() and content_type.strip()):
        raise InvalidRequest(f"content type {content_type!a:.80} is not one line of ASCII")
    # One space at most: signer and server disagree about more.
    plain = " ".join(content_type.split())
    return {"Content-Type": plain, **metadata.to_headers(user_metadata)}


def _copy_source(source: tuple[str, str]) -> dict[str, str]:
    """As it is: Storage does not decode it. What it takes as a key is fit for a header."""
    return {"x-amz-copy-source": f"{source[0]}/{checked_key(source[1])}"}


def _completed_etag(call: Call, body: bytes) -> str:
    """The ETag of a completion or a copy. S3 may answer 200 first and fail later, in the body."""
    root = documents.parse(call.what, body)
    if root.tag.rpartition("}")[2] == "Error":
        raise traits.refused(call.what, traits.read_refusal(500, body))
    return plain_etag(documents.text_of(call.what, root, "ETag"))


def _date(value: str) -> datetime:
    try:
        parsed = parsedate_to_datetime(value)
    except ValueError:
        raise StorageUnavailable(
            "the answer has no usable Last-Modified; try again later"
        ) from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
