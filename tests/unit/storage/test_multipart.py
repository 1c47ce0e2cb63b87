"""Multipart uploads: begun, completed once however often one asks, and given up."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET

import pytest

from argosy import errors
from argosy.storage.checksum import composite_etag
from argosy.storage.s3 import ObjectStore, StoredPart

from .scripted import ScriptedServer, Step, answer, error_xml, refuse, reset

MD5S = [hashlib.md5(bytes([number])).hexdigest() for number in range(3)]
PARTS = [StoredPart(number, md5) for number, md5 in enumerate(MD5S, 1)]
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def completed(etag: str) -> Step:
    body = f"<CompleteMultipartUploadResult {NAMESPACE}><ETag>&quot;{etag}&quot;</ETag>"
    return answer(200, f"{body}</CompleteMultipartUploadResult>".encode())


def found(etag: str, size: int = 3) -> Step:
    modified = "Sun, 22 Nov 2026 10:00:00 GMT"
    return answer(200, b"", announced=size, etag=f'"{etag}"', last_modified=modified)


def test_begin(server: ScriptedServer, store: ObjectStore) -> None:
    body = f"<InitiateMultipartUploadResult {NAMESPACE}><UploadId>up/1</UploadId>"
    server.script(reset(), answer(200, f"{body}</InitiateMultipartUploadResult>".encode()))
    metadata = {"name": "Пла́н 100%.txt"}
    upload_id = store.create_multipart("b", "k", content_type="text/plain", metadata=metadata)
    assert upload_id == "up/1"
    request = server.requests[-1]
    assert request.query == {"uploads": ""}
    assert request.headers["x-amz-meta-name"].isascii()
    assert request.headers["content-type"] == "text/plain"


def test_an_answer_from_elsewhere_is_no_upload(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(answer(200, b"<html>Sign in to the hotel's network"))
    with pytest.raises(errors.StorageUnavailable, match="not XML"):
        store.create_multipart("b", "k", content_type="text/plain", metadata={})


def test_complete_names_every_part(server: ScriptedServer, store: ObjectStore) -> None:
    etag = composite_etag(MD5S)
    server.script(completed(etag))
    assert store.complete_multipart("b", "k", "up", PARTS) == etag
    (request,) = server.requests
    assert request.headers["content-type"] == "application/xml"
    named = [
        (int(part.findtext("{*}PartNumber", "")), part.findtext("{*}ETag"))
        for part in ET.fromstring(request.body)
    ]
    assert named == [(part.number, part.etag) for part in PARTS]


@pytest.mark.parametrize(
    "parts", [[], PARTS[1:], [PARTS[0], PARTS[2]], PARTS[::-1], [PARTS[0], PARTS[0]]]
)
def test_gaps_and_disorder_are_never_sent(
    server: ScriptedServer, store: ObjectStore, parts: list[StoredPart]
) -> None:
    with pytest.raises(errors.InvalidRequest):
        store.complete_multipart("b", "k", "up", parts)
    assert server.requests == []


@pytest.mark.parametrize("etag", [hashlib.md5(b"whole").hexdigest(), "19a1b2c3d4e.5-3"])
def test_an_etag_of_another_form_is_passed_on(
    server: ScriptedServer, store: ObjectStore, etag: str
) -> None:
    server.script(completed(etag))
    assert store.complete_multipart("b", "k", "up", PARTS) == etag


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (completed(composite_etag(MD5S[::-1])), errors.ChecksumMismatch),
        (refuse(400, "InvalidChecksum"), errors.ChecksumMismatch),
        (refuse(400, "MissingPart"), errors.ChecksumMismatch),
    ],
)
def test_wrong_parts(
    server: ScriptedServer, store: ObjectStore, step: Step, expected: type[errors.Error]
) -> None:
    server.script(step)
    with pytest.raises(expected):
        store.complete_multipart("b", "k", "up", PARTS)
    assert len(server.requests) == 1


def test_an_error_after_200_is_an_error(server: ScriptedServer, store: ObjectStore) -> None:
    etag = composite_etag(MD5S)
    server.script(answer(200, error_xml("InternalError")), completed(etag))
    assert store.complete_multipart("b", "k", "up", PARTS) == etag
    assert len(server.requests) == 2


def test_complete_whose_answer_got_lost(server: ScriptedServer, store: ObjectStore) -> None:
    etag = composite_etag(MD5S)
    server.script(reset(), refuse(404, "NoSuchUpload"), found(etag))
    assert store.complete_multipart("b", "k", "up", PARTS) == etag
    assert [request.method for request in server.requests] == ["POST", "POST", "HEAD"]


@pytest.mark.parametrize(
    ("head", "is_ours"),
    [
        (found(hashlib.md5(b"whole").hexdigest()), True),
        (found("19a1b2c3d4e.5-3"), True),
        (found("19a1b2c3d4e.5-3", size=4), False),
        (found(composite_etag(MD5S), size=4), False),
        (found(composite_etag(MD5S[:2])), False),
        (found(hashlib.md5(b"other").hexdigest()), False),
        (answer(404), False),
    ],
)
def test_what_is_taken_for_the_result(
    server: ScriptedServer, store: ObjectStore, head: Step, is_ours: bool
) -> None:
    server.script(refuse(404, "NoSuchUpload"), head)

    def complete() -> str:
        md5 = hashlib.md5(b"whole").hexdigest()
        return store.complete_multipart("b", "k", "up", PARTS, size=3, md5=md5)

    if is_ours:
        assert complete()
    else:
        with pytest.raises(errors.UploadNotFound):
            complete()


def test_an_unclear_etag_without_a_size_is_not_enough(
    server: ScriptedServer, store: ObjectStore
) -> None:
    server.script(refuse(404, "NoSuchUpload"), found("19a1b2c3d4e.5-3"))
    with pytest.raises(errors.UploadNotFound):
        store.complete_multipart("b", "k", "up", PARTS)


def test_aborting_what_is_gone_is_fine(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(refuse(404, "NoSuchUpload"))
    store.abort_multipart("b", "k", "up")
    server.script(answer(204))
    store.abort_multipart("b", "k", "up")
    assert server.requests[0].query == {"uploadId": "up"}


def test_deleting_what_is_gone_is_fine(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(refuse(404, "NoSuchKey"))
    store.delete("b", "k")
    server.script(answer(204))
    store.delete("b", "k")
    server.script(refuse(403, "AccessDenied"))
    with pytest.raises(errors.AccessDenied):
        store.delete("b", "k")


def page(*keys: str, truncated: bool = False) -> Step:
    uploads = "".join(
        f"<Upload><Key>{key}</Key><UploadId>up-{key}</UploadId>"
        "<Initiated>2026-11-22T10:00:00.000Z</Initiated></Upload>"
        for key in keys
    )
    more = (
        f"<NextKeyMarker>l:{keys[-1]}=</NextKeyMarker><NextUploadIdMarker>m+/=</NextUploadIdMarker>"
        if truncated
        else ""
    )
    body = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{more}{uploads}"
    body = f"<ListMultipartUploadsResult {NAMESPACE}>{body}</ListMultipartUploadsResult>"
    return answer(200, body.encode())


def test_pending_uploads_page_by_page(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(page("a/1", "a/2", truncated=True), page("a/3", "elsewhere"))
    pending = list(store.multipart_uploads("b", "a/"))
    assert [upload.key for upload in pending] == ["a/1", "a/2", "a/3"]
    assert pending[0].upload_id == "up-a/1"
    assert pending[0].initiated is not None
    assert server.requests[1].query == {
        "uploads": "",
        "prefix": "a/",
        "key-marker": "l:a/2=",
        "upload-id-marker": "m+/=",
    }
