"""What arrives at Supabase is what was sent: path, query, host, signature."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from botocore.config import Config

from argosy.storage.body import BytesBody
from argosy.storage.s3 import Endpoint, ObjectStore
from tests.integration.gateway.servers import Gateway, ask, converse
from tests.unit.storage.scripted import Request, ScriptedServer, answer

TARGETS = [
    "/storage/v1/object/b/M%C3%A4rz%202026.bin",
    "/storage/v1/object/b/a%2Fb%2fc",
    "/storage/v1/object/b//two//slashes/",
    "/storage/v1/object/b/plus+and%2Bplus",
    "/storage/v1/object/b/%25%32%35%2525",
    "/storage/v1/object/b/semi;colon=1,2&'()*!$@:~",
    "/storage/v1/object/b/one/./two/../three",
    "/storage/v1/object/b/%2e%2e/x",
    "/storage/v1/object/b/hash%23question%3F",
    "/storage/v1/object/b/%7Euser|pipe^caret",
    "/storage/v1/object/b/x?",
    "/storage/v1/object/b/x??a=/../&b=%2F%20+&b=c#d",
    "/storage/v1/s3/b/k?uploads=&prefix=a%2Fb%20c&X-Amz-Signature=0%3D",
    "/rest/v1/table?select=*&name=eq.%22a%22",
    "/auth/v1/token?grant_type=password",
    "/graphql/v1",
    "/functions/v1/hello",
    "/storage/v1",
]
ELSEWHERE = [
    "/",
    "/pg/tables",
    "/project/default",
    "/storage/v1x/object",
    "/auth/v1/../../pg/tables",
    "/auth/v1/%2e%2e/%2e%2e/pg/tables",
    "/auth/v1/..%2f..%2fpg/tables",
    "//auth/v1/user",
    "/auth//v1/user",
]


@pytest.mark.parametrize("target", TARGETS)
def test_the_target_arrives_byte_for_byte(
    scripted: Gateway, upstream: ScriptedServer, target: str
) -> None:
    assert ask(scripted, target) == 200
    # A fragment is no part of a request; nginx leaves it out, browsers never send it.
    assert upstream.requests[0].target == target


@pytest.mark.parametrize("target", ELSEWHERE)
def test_other_doors_of_supabase_stay_shut(
    scripted: Gateway, upstream: ScriptedServer, target: str
) -> None:
    assert ask(scripted, target) == 404
    assert upstream.requests == []


@pytest.mark.parametrize("target", ["/auth/v1/..\\..\\pg", "/auth/v1/..%5c..%5Cpg"])
def test_a_backslash_is_refused(scripted: Gateway, upstream: ScriptedServer, target: str) -> None:
    assert ask(scripted, target) == 400
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("sent", "port"),
    [("files.example.com", "80"), ("files.example.com:8443", "8443"), ("[::1]:9", "9")],
)
def test_the_host_is_the_clients(
    scripted: Gateway, upstream: ScriptedServer, sent: str, port: str
) -> None:
    ask(scripted, "/storage/v1/s3/b/k", host=sent)
    headers = upstream.requests[0].headers
    assert (headers["host"], headers["x-forwarded-host"]) == (sent, sent)
    assert headers["x-forwarded-port"] == port


def test_who_ends_tls_is_believed(scripted: Gateway, upstream: ScriptedServer) -> None:
    told = {
        "host": "files.example.com",
        "x-forwarded-proto": "https",
        "x-forwarded-for": "192.0.2.7",
    }
    ask(scripted, "/storage/v1/upload/resumable", **told)
    headers = upstream.requests[0].headers
    assert (headers["x-forwarded-proto"], headers["x-forwarded-port"]) == ("https", "443")
    assert headers["x-forwarded-for"] == "192.0.2.7, 127.0.0.1"


def test_a_client_cannot_say_where_it_is(scripted: Gateway, upstream: ScriptedServer) -> None:
    told = {
        "x-forwarded-host": "evil.example.com",
        "x-forwarded-port": "666",
        "x-forwarded-proto": "gopher",
        "x-forwarded-prefix": "/evil",
        "x-forwarded-path": "/evil",
        "forwarded": "host=evil.example.com",
        "x_forwarded_host": "evil.example.com",
    }
    ask(scripted, "/storage/v1/object/b/k", **told)
    headers = upstream.requests[0].headers
    assert headers["x-forwarded-proto"] == "http"
    assert not {"x-forwarded-prefix", "x-forwarded-path", "forwarded"} & headers.keys()
    assert "evil" not in str(headers)


def test_connections_to_supabase_are_kept(scripted: Gateway, upstream: ScriptedServer) -> None:
    before = upstream.connections
    with httpx.Client(base_url=scripted.url) as client:
        for _ in range(20):
            client.put("/storage/v1/object/b/k", content=b"x" * 1000)
    assert len(upstream.requests) == 20
    assert upstream.connections - before <= (os.cpu_count() or 1)  # one for each process of nginx
    assert "connection" not in upstream.requests[0].headers


def test_a_location_stays_as_supabase_wrote_it(scripted: Gateway, upstream: ScriptedServer) -> None:
    location = "http://supabase/storage/v1/upload/resumable/aWQ"
    upstream.script(answer(201, b"", Location=location))
    answered = httpx.post(f"{scripted.url}/storage/v1/upload/resumable")
    assert answered.headers["location"] == location


def test_an_answer_cannot_steer_the_gateway(scripted: Gateway, upstream: ScriptedServer) -> None:
    upstream.script(answer(200, b"cargo", X_Accel_Redirect="/gateway/health"))
    assert httpx.get(f"{scripted.url}/functions/v1/hello").content == b"cargo"


# Upgrades and smuggling


def test_a_websocket_reaches_realtime(scripted: Gateway, upstream: ScriptedServer) -> None:
    upstream.script(_accept_websocket)
    with socket.create_connection(("127.0.0.1", scripted.port), timeout=30) as connection:
        connection.sendall(_upgrade("/realtime/v1/websocket?vsn=1.0.0", "websocket"))
        answered = connection.makefile("rb")
        assert b"101" in answered.readline()
        while answered.readline().strip():
            pass
        connection.sendall(b"a frame")
        assert answered.read(7) == b"emarf a"


def _accept_websocket(request: Request, connection: socket.socket) -> None:
    key = request.headers["sec-websocket-key"].encode()
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    assert request.headers["connection"] == "upgrade"
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}", "", ""]
    connection.sendall("\r\n".join(lines).encode())
    connection.sendall(request.reader.read(7)[::-1])


def _upgrade(target: str, protocol: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: x", f"Upgrade: {protocol}", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("target", "protocol"),
    [("/realtime/v1/websocket", "h2c"), ("/storage/v1/object/b/k", "websocket")],
)
def test_nothing_else_is_upgraded(
    scripted: Gateway, upstream: ScriptedServer, target: str, protocol: str
) -> None:
    converse(
        scripted,
        f"GET {target} HTTP/1.1",
        "Host: x",
        f"Upgrade: {protocol}",
        "HTTP2-Settings: AAMA",
    )
    assert "upgrade" not in upstream.requests[0].headers
    assert "connection" not in upstream.requests[0].headers


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Transfer-Encoding: xchunked"],
        ["Host: y"],
    ],
    ids=" and ".join,
)
def test_a_request_that_means_two_things_is_refused(
    scripted: Gateway, upstream: ScriptedServer, lines: list[str]
) -> None:
    status = converse(scripted, "POST /storage/v1/object/b/k HTTP/1.1", "Host: x", *lines)
    assert status in (400, 501)
    assert upstream.requests == []


# The real server


@pytest.fixture
def store(gateway: Gateway, keys: tuple[str, str]) -> ObjectStore:
    """The fleet's own client; the gateway is all that it knows."""
    endpoint = Endpoint(f"{gateway.url}/storage/v1/s3", "local", keys[0])
    return ObjectStore(endpoint, lambda: keys[1])


@pytest.mark.parametrize(
    "name", ["plain.bin", "sub/folder/a b+c.bin", "it's (1) & $2 @ 3;4:5,6=7!*.bin", "q?u?.bin"]
)
def test_signed_requests_of_the_fleet_match(store: ObjectStore, bucket: str, name: str) -> None:
    content = os.urandom(100_000)
    facts = {"name": "Bericht für März.bin", "sha256": "0" * 64}
    etag = store.put(
        bucket, name, BytesBody(content), content_type="application/x-test", metadata=facts
    )
    assert etag == hashlib.md5(content).hexdigest()
    assert b"".join(store.get(bucket, name)) == content
    assert b"".join(store.get(bucket, name, start=10, length=1000)) == content[10:1010]
    head = store.head(bucket, name)
    assert (head.size, head.metadata) == (len(content), facts)


def test_a_presigned_url_matches(
    gateway: Gateway, store: ObjectStore, bucket: str, keys: tuple[str, str]
) -> None:
    store.put(bucket, "a b.bin", BytesBody(b"cargo"), content_type="text/plain", metadata={})
    client = boto3.client(
        "s3",
        endpoint_url=f"{gateway.url}/storage/v1/s3",
        aws_access_key_id="local",
        aws_secret_access_key=keys[0],
        aws_session_token=keys[1],
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b.bin"})
    assert urlsplit(url).port == gateway.port
    answered = httpx.get(url)
    assert (answered.status_code, answered.content) == (200, b"cargo")


def test_a_name_is_stored_as_it_was_sent(rest: httpx.Client, bucket: str, tmp_path: Path) -> None:
    name = "sub/it's a name (1) & 2 + 3?.bin"
    sent = "sub/it's%20a%20name%20(1)%20%26%202%20%2B%203%3F.bin"
    assert rest.post(f"/object/{bucket}/{sent}", content=b"cargo").status_code == 200
    listed = rest.post(f"/object/list-v2/{bucket}", json={"prefix": "sub/"}).json()
    assert [found["name"] for found in listed["objects"]] == [name]
    assert rest.get(f"/object/{bucket}/{sent}").content == b"cargo"
