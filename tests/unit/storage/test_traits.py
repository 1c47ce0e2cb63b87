"""The table: three languages of trouble, one tree of errors."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from argosy import errors
from argosy.storage import traits
from argosy.storage.traits import Refusal, read_refusal, refused, retry_after, unreachable

from .conftest import TOKEN
from .scripted import error_xml


def rest(status: str, code: str, error: str = "", message: str = "") -> bytes:
    said = {"statusCode": status, "code": code, "error": error, "message": message}
    return json.dumps({name: value for name, value in said.items() if value}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        # REST: HTTP 400, the truth is inside
        (400, rest("404", "NoSuchKey", "not_found"), errors.ObjectNotFound),
        (400, rest("404", "", "not_found"), errors.ObjectNotFound),
        (400, rest("404", "NoSuchBucket", "Bucket not found"), errors.BucketNotFound),
        (400, rest("404", "", "Bucket not found"), errors.BucketNotFound),
        (400, rest("413", "EntityTooLarge", "Payload too large"), errors.ObjectTooLarge),
        (400, rest("413", ""), errors.ObjectTooLarge),
        (400, rest("415", "InvalidMimeType", "invalid_mime_type"), errors.TypeNotAllowed),
        (400, rest("409", "KeyAlreadyExists", "Duplicate"), errors.StorageRefused),
        (400, rest("403", "AccessDenied", "Unauthorized", "row-level"), errors.AccessDenied),
        (400, rest("403", "AccessDenied", "", '"exp" claim timestamp'), errors.InvalidToken),
        (400, rest("400", "InvalidJWT"), errors.InvalidToken),
        (400, rest("503", "LockTimeout"), errors.StorageUnavailable),
        (400, rest("429", "SlowDown"), errors.StorageUnavailable),
        (544, rest("544", "DatabaseTimeout"), errors.StorageUnavailable),
        (400, rest("400", "SomethingNew"), errors.StorageRefused),
        (400, rest("500", "SomethingNew"), errors.StorageUnavailable),
        (401, b'{"message":"Invalid authentication credentials"}', errors.InvalidToken),
        (429, b'{"message":"API rate limit exceeded"}', errors.StorageUnavailable),
        # S3: true statuses, XML with a namespace
        (404, error_xml("NoSuchKey"), errors.ObjectNotFound),
        (404, error_xml("NoSuchBucket"), errors.BucketNotFound),
        (404, error_xml("NoSuchUpload"), errors.UploadNotFound),
        (403, error_xml("AccessDenied", "new row violates row-level"), errors.AccessDenied),
        (403, error_xml("AccessDenied", "jwt malformed"), errors.InvalidToken),
        (403, error_xml("AccessDenied", "signature verification failed"), errors.InvalidToken),
        (403, error_xml("SignatureDoesNotMatch"), errors.StorageRefused),
        (403, error_xml("AccessDenied", "Invalid Access Key"), errors.StorageRefused),
        (400, error_xml("InvalidChecksum"), errors.ChecksumMismatch),
        (500, error_xml("InvalidRange"), errors.StorageRefused),
        (503, error_xml("SlowDown"), errors.StorageUnavailable),
        (404, b"<Error><Code>NoSuchKey</Code></Error>", errors.ObjectNotFound),
        # no body: the status decides
        (401, b"", errors.InvalidToken),
        (403, b"", errors.AccessDenied),
        (404, b"", errors.ObjectNotFound),
        (408, b"", errors.StorageUnavailable),
        (412, b"", errors.ObjectChanged),
        (416, b"", errors.StorageRefused),
        (307, b"", errors.StorageRefused),
        (500, b"", errors.StorageUnavailable),
        (501, b"", errors.StorageRefused),
        (507, b"", errors.StorageRefused),
        # somebody in between
        (502, b"<html><body>Bad Gateway", errors.StorageUnavailable),
        (504, b"upstream request timeout", errors.StorageUnavailable),
        (403, b"<html><body>checking your browser</body></html>", errors.StorageUnavailable),
        (404, b"<html/>", errors.StorageUnavailable),
        (413, b"<html>413 Request Entity Too Large</html>", errors.ObjectTooLarge),
        (500, b"{not json", errors.StorageUnavailable),
    ],
)
def test_answers(status: int, body: bytes, expected: type[errors.Error]) -> None:
    error = refused("put b/k", read_refusal(status, body))
    assert type(error) is expected
    assert re.match(r"(Storage|A gateway) answered \d{3}.* when asked to put b/k: ", error.message)
    assert error.message.endswith(".")


@pytest.mark.parametrize(
    "cause",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout(""),
        httpx.ReadTimeout("timed out"),
        httpx.WriteTimeout("timed out"),
        httpx.PoolTimeout("no free connection"),
        httpx.ReadError("reset"),
        httpx.WriteError("broken pipe"),
        httpx.RemoteProtocolError("peer closed connection"),
        httpx.ProxyError("502"),
    ],
)
def test_failures_below_http_are_worth_repeating(cause: httpx.HTTPError) -> None:
    error = unreachable("put b/k", cause)
    assert type(error) is errors.StorageUnavailable
    assert error.retryable
    assert error.message.endswith("when asked to put b/k: try again later.")


@pytest.mark.parametrize(
    "cause", [httpx.UnsupportedProtocol("ftp"), httpx.InvalidURL("?"), httpx.LocalProtocolError("")]
)
def test_requests_that_cannot_be_sent_are_not(
    cause: httpx.HTTPError | httpx.InvalidURL,
) -> None:
    assert type(unreachable("put b/k", cause)) is errors.StorageRefused


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("", None), ("soon", None), ("-1", None), ("0", 0.0)]
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds


def test_retry_after_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3000 < (retry_after({"retry-after": later}) or 0) <= 3600
    assert retry_after({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}) == 0.0


def test_no_secret_of_an_answer_is_repeated() -> None:
    signature = "a" * 64
    message = f"token {TOKEN} and {signature} and sb_secret_abcdefgh do not match\n" + "x" * 1000
    for body in (error_xml("AccessDenied", message), rest("403", "AccessDenied", "", message)):
        text = str(refused("put b/k", read_refusal(403, body)))
        assert TOKEN not in text
        assert "eyJ" not in text
        assert signature not in text
        assert "sb_secret" not in text
        assert len(text) < 400


def test_every_row_of_the_table_tells_what_to_do() -> None:
    rows = [*traits.BY_CODE.values(), *traits.BY_STATUS.values()]
    for row in rows:
        assert row.advice
        assert issubclass(row.error, errors.Error)
    assert traits.trait_of(Refusal(599)).error is errors.StorageUnavailable
