"""Sending bytes: checked, repeated from a fresh pass, never repeated in vain."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from argosy import errors
from argosy.storage.body import BytesBody, FileRange
from argosy.storage.s3 import ObjectStore

from .scripted import ScriptedServer, answer, refuse, reset, stored


def md5_of(body: BytesBody | FileRange) -> str:
    return hashlib.md5(b"".join(body.blocks())).hexdigest()


def test_a_part_is_sent_and_its_etag_is_the_md5(
    server: ScriptedServer, store: ObjectStore, part: FileRange
) -> None:
    server.script(stored())
    assert store.upload_part("b", "k", "up", 7, part) == md5_of(part)
    (request,) = server.requests
    assert request.method == "PUT"
    assert request.path == "/storage/v1/s3/b/k"
    assert request.query == {"partNumber": "7", "uploadId": "up"}
    assert request.content_length == part.size
    assert "transfer-encoding" not in request.headers


@pytest.mark.parametrize(
    "trouble",
    [
        reset(after=1_500_000),
        reset(),
        answer(502, b"<html><body>Bad Gateway</body></html>"),
        answer(502, b"<html><hr>unclosed"),
        answer(504, b"upstream timed out"),
        answer(200, b"", etag='"00000000000000000000000000000000"'),
        answer(200, b"", etag='"19a1b2c3d4e.5-300"'),
        answer(200, b""),
        answer(200, b"abc", announced=10),
        refuse(503, "SlowDown"),
        refuse(500, "InternalError"),
        refuse(544, "DatabaseTimeout"),
        refuse(429, "SlowDown"),
        refuse(408, "RequestTimeout"),
    ],
)
def test_trouble_is_repeated_with_a_fresh_pass(
    server: ScriptedServer, store: ObjectStore, part: FileRange, trouble, pauses: list[float]
) -> None:
    server.script(trouble, trouble, stored())
    assert store.upload_part("b", "k", "up", 1, part) == md5_of(part)
    assert len(server.requests) == 3
    assert server.requests[-1].body_bytes == part.size
    assert len(pauses) == 2


def test_silence_is_a_time_out_and_repeated(
    server: ScriptedServer, hasty: ObjectStore, part: FileRange
) -> None:
    server.script(server.stall(), stored())
    assert hasty.upload_part("b", "k", "up", 1, part) == md5_of(part)


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        (refuse(403, "AccessDenied"), errors.AccessDenied),
        (refuse(404, "NoSuchBucket"), errors.BucketNotFound),
        (refuse(404, "NoSuchUpload"), errors.UploadNotFound),
        (refuse(413, "EntityTooLarge"), errors.ObjectTooLarge),
        (refuse(415, "InvalidMimeType"), errors.TypeNotAllowed),
        (refuse(400, "InvalidKey"), errors.StorageRefused),
        (refuse(403, "SignatureDoesNotMatch"), errors.StorageRefused),
        (refuse(400, "ExpiredToken"), errors.InvalidToken),
    ],
)
def test_a_refusal_is_final(
    server: ScriptedServer, store: ObjectStore, part: FileRange, answered, expected
) -> None:
    server.script(answered)
    with pytest.raises(expected, match="part 3 of b/folder/k"):
        store.upload_part("b", "folder/k", "up", 3, part)
    assert len(server.requests) == 1


def test_an_early_refusal_is_heard_although_the_body_was_not_taken(
    server: ScriptedServer, store: ObjectStore, tmp_path: Path
) -> None:
    def early(request, connection):
        request.receive(1)
        refuse(413, "EntityTooLarge")(_without_body(request), connection)
        request.receive()

    server.script(early)
    with pytest.raises(errors.ObjectTooLarge):
        store.put("b", "k", BytesBody(b"x" * 100_000), content_type="text/plain", metadata={})


def _without_body(request):
    request.receive = lambda: None
    return request


def test_the_last_error_is_raised_when_attempts_run_out(
    server: ScriptedServer, store: ObjectStore, pauses: list[float]
) -> None:
    server.script(refuse(503, "SlowDown", Retry_After="7"))
    with pytest.raises(errors.StorageUnavailable) as caught:
        store.put("b", "k", BytesBody(b"x"), content_type="text/plain", metadata={})
    assert len(server.requests) == 6
    assert pauses == [7.0] * 5
    assert caught.value.retryable
    assert caught.value.retry_after == 7.0


def test_put_computes_the_md5_on_the_way(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(stored())
    etag = store.put("b", "k", BytesBody(b"content"), content_type="text/plain", metadata={})
    assert etag == hashlib.md5(b"content").hexdigest()


def test_put_compares_with_the_md5_it_was_given(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(stored())
    with pytest.raises(errors.TransitCorruption):
        store.put("b", "k", BytesBody(b"y"), content_type="text/plain", metadata={}, md5="0" * 32)
    assert len(server.requests) == 6


def test_put_takes_an_etag_that_says_nothing(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(stored("19a1b2c3d4e.5-1"))
    etag = store.put("b", "k", BytesBody(b"y"), content_type="text/plain", metadata={})
    assert etag == "19a1b2c3d4e.5-1"


def test_an_empty_object(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(stored())
    etag = store.put("b", "k", BytesBody(b""), content_type="text/plain", metadata={})
    assert etag == hashlib.md5(b"").hexdigest()
    assert server.requests[0].headers["content-length"] == "0"


def test_a_file_that_shrinks_is_an_error_at_once(
    server: ScriptedServer, store: ObjectStore, tmp_path: Path
) -> None:
    server.script(stored())
    path = tmp_path / "shrinks"
    path.write_bytes(b"short")
    with path.open("rb") as source, pytest.raises(errors.SourceChanged, match="byte 5"):
        store.upload_part("b", "k", "up", 1, FileRange(source.fileno(), 0, 10))
    assert len(server.requests) <= 1


def test_progress_takes_back_what_a_broken_pass_reported(
    server: ScriptedServer, store: ObjectStore, tmp_path: Path
) -> None:
    server.script(reset(after=1_500_000), stored())
    path = tmp_path / "source"
    path.write_bytes(os.urandom(3 * 1024 * 1024))
    reports: list[int] = []
    with path.open("rb") as source:
        body = FileRange(source.fileno(), 0, path.stat().st_size, reports.append)
        store.upload_part("b", "k", "up", 1, body)
        assert source.tell() == 0
    assert sum(reports) == path.stat().st_size


def test_stopping_from_the_progress_callback_is_not_repeated(
    server: ScriptedServer, store: ObjectStore, tmp_path: Path
) -> None:
    def stop(_count: int) -> None:
        raise errors.TransferCancelled("cancelled by its owner")

    server.script(stored())
    path = tmp_path / "source"
    path.write_bytes(b"some bytes")
    with path.open("rb") as source, pytest.raises(errors.TransferCancelled):
        store.upload_part("b", "k", "up", 1, FileRange(source.fileno(), 0, 10, stop))


def test_an_endless_error_page_is_not_read_to_its_end(
    server: ScriptedServer, store: ObjectStore, part: FileRange
) -> None:
    server.script(answer(500, bytes(5 * 1024 * 1024)), stored())
    assert store.upload_part("b", "k", "up", 1, part) == md5_of(part)


@pytest.mark.parametrize("what", ["part", "abort"])
def test_an_upload_that_the_s3_beneath_does_not_know(
    server: ScriptedServer, store: ObjectStore, part: FileRange, what: str
) -> None:
    server.script(refuse(404, "S3Error", "The specified upload does not exist"))
    if what == "abort":
        store.abort_multipart("b", "k", "up")
        return
    with pytest.raises(errors.UploadNotFound):
        store.upload_part("b", "k", "up", 1, part)
