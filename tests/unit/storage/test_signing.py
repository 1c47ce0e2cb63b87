"""The signature, verified by what Storage does (src/storage/protocols/s3/signature-v4.ts)."""

from __future__ import annotations

import hashlib
import hmac
import logging
import traceback
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from argosy import errors
from argosy.storage.body import BytesBody
from argosy.storage.retry import RetryPolicy
from argosy.storage.s3 import Endpoint, ObjectStore

from .conftest import ANON_KEY, TOKEN
from .scripted import Request, ScriptedServer, answer, refuse, serve, stored

KEY_CHARACTERS = "abcXYZ019_/!-.*'() &$@=;:+,?"


def hmac_sha256(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature_of(request: Request) -> str:
    """As the server computes it: raw path, re-encoded query, raw header values."""
    authorization = request.headers["authorization"].removeprefix("AWS4-HMAC-SHA256 ")
    fields = dict(pair.strip().split("=", 1) for pair in authorization.split(","))
    names = sorted(fields["SignedHeaders"].split(";"))
    query = "&".join(
        f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}"
        for name, value in sorted(request.query.items())
    )
    headers = "\n".join(f"{name}:{request.headers[name]}" for name in names) + "\n"
    payload = request.headers["x-amz-content-sha256"]
    canonical = "\n".join([request.method, request.path, query, headers, ";".join(names), payload])
    _, day, region, service, end = fields["Credential"].split("/")
    key = f"AWS4{ANON_KEY}".encode()
    for step in (day, region, service, end):
        key = hmac_sha256(key, step)
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    scope = f"{day}/{region}/{service}/{end}"
    text = f"AWS4-HMAC-SHA256\n{request.headers['x-amz-date']}\n{scope}\n{hashed}"
    return hmac_sha256(key, text).hex()


def is_signed(request: Request) -> bool:
    return request.headers["authorization"].endswith(f"Signature={signature_of(request)}")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    key=st.text(KEY_CHARACTERS, min_size=1, max_size=40).filter(
        lambda key: key[0] != "/" and not {".", ".."} & set(key.split("/"))
    ),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    upload_id=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30),
)
def test_what_is_signed_is_what_arrives(
    server: ScriptedServer, store: ObjectStore, key: str, name: str, upload_id: str
) -> None:
    server.script(stored())
    store.put("b", key, BytesBody(b"x"), content_type="text/plain;  a=b", metadata={"name": name})
    assert is_signed(server.requests[0])
    server.script(stored())
    store.upload_part("b", key, upload_id, 1, BytesBody(b"x"))
    assert is_signed(server.requests[0])
    assert server.requests[0].query["uploadId"] == upload_id


def test_the_credentials_are_those_of_a_session(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(serve(b"abc"))
    list(store.get("b", "k"))
    (request,) = server.requests
    assert request.headers["x-amz-security-token"] == TOKEN
    assert request.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    assert "Credential=project/" in request.headers["authorization"]
    assert "/us-east-1/s3/aws4_request" in request.headers["authorization"]


def test_the_token_is_asked_for_every_attempt(
    server: ScriptedServer, endpoint: Endpoint, retries: RetryPolicy
) -> None:
    tokens = iter(["first", "second", "third"])
    store = ObjectStore(endpoint, lambda: next(tokens), retries=retries)
    server.script(refuse(503, "SlowDown"), stored())
    store.upload_part("b", "k", "up", 1, BytesBody(b"x"))
    store.upload_part("b", "k", "up", 2, BytesBody(b"x"))
    used = [request.headers["x-amz-security-token"] for request in server.requests]
    assert used == ["first", "second", "third"]
    assert all(is_signed(request) for request in server.requests)


@pytest.mark.parametrize("token", ["", "two\r\nlines", "spa ce", "ümlaut"])
def test_a_token_that_is_none_is_not_quoted(
    server: ScriptedServer, endpoint: Endpoint, token: str
) -> None:
    store = ObjectStore(endpoint, lambda: token)
    with pytest.raises(errors.InvalidToken) as caught:
        store.head("b", "k")
    assert not token or token not in str(caught.value)
    assert server.requests == []


def test_no_secret_in_any_log_or_error(
    server: ScriptedServer, store: ObjectStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("botocore.auth").setLevel(logging.DEBUG)
    server.script(refuse(503, "SlowDown", f"you sent {TOKEN}"))
    with pytest.raises(errors.StorageUnavailable) as caught:
        store.put("b", "k", BytesBody(b"x"), content_type="text/plain", metadata={})
    told = caplog.text + "".join(traceback.format_exception(caught.value))
    told += "".join(str(record.__dict__) for record in caplog.records)
    for secret in (TOKEN, ANON_KEY, signature_of(server.requests[-1])):
        assert secret not in told
    assert ANON_KEY not in repr(store._wire._signature._endpoint)


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        *[("b", key) for key in ["..", "a/../b", "./a", "a/.", "", "/", "//", "/a"]],
        *[(bucket, "k") for bucket in ["", ".", "..", "a/b"]],
    ],
)
def test_a_name_never_reaches_something_else(
    server: ScriptedServer, store: ObjectStore, bucket: str, key: str
) -> None:
    """Deleting the object without a name would delete its bucket."""
    with pytest.raises(errors.InvalidRequest):
        store.delete(bucket, key)
    assert server.requests == []


@pytest.mark.parametrize("content_type", ["", " ", "text/plain\r\nx-evil: 1", "tëxt"])
def test_a_content_type_is_one_line(
    server: ScriptedServer, store: ObjectStore, content_type: str
) -> None:
    with pytest.raises(errors.InvalidRequest):
        store.create_multipart("b", "k", content_type=content_type, metadata={})
    assert server.requests == []


def test_nothing_follows_a_redirect(server: ScriptedServer, store: ObjectStore) -> None:
    """It would carry the token elsewhere."""
    server.script(answer(307, b"", location="http://127.0.0.1:1/"))
    with pytest.raises(errors.StorageRefused):
        store.head("b", "k")
    assert len(server.requests) == 1
