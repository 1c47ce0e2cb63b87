from __future__ import annotations

import datetime
import os
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from argosy.storage import pool
from argosy.storage.retry import RetryPolicy
from argosy.storage.s3 import ObjectStore
from argosy.storage.sockets import READ_BYTES, widen
from argosy.storage.waits import heeding

from .scripted import Request, ScriptedServer, send_head, serve

CONTENT = os.urandom(8 * 1024 * 1024 + 5)


def test_large_bodies_arrive_in_large_blocks(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(serve(CONTENT))
    blocks = list(store.get("b", "k"))
    assert b"".join(blocks) == CONTENT
    assert max(map(len, blocks)) > 64 * 1024
    assert max(map(len, blocks)) <= READ_BYTES


def test_a_connection_read_so_serves_again(server: ScriptedServer, store: ObjectStore) -> None:
    server.script(serve(CONTENT))
    for start in (0, 1, 1_000_000):
        found = b"".join(store.get("b", "k", start=start, length=5_000_000))
        assert found == CONTENT[start : start + 5_000_000]
    assert server.connections == 1


def test_what_comes_slowly_is_not_waited_for(server: ScriptedServer, store: ObjectStore) -> None:
    """A piece is what is there, not what would fill it."""
    seen = threading.Event()

    def drip(request: Request, connection: socket.socket) -> bool:
        request.receive()
        send_head(connection, 200, 2000, {"ETag": '"v1"'})
        connection.sendall(bytes(1000))
        first = seen.wait(10)
        connection.sendall(bytes(1000))
        return first

    server.script(drip)
    blocks = store.get("b", "k")
    assert len(next(blocks)) == 1000
    seen.set()
    assert b"".join(blocks) == bytes(1000)


def test_proxies_are_read_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pool.new_client() as client:
        pools = [client._transport, *client._mounts.values()]
        backends = {type(each._pool._network_backend) for each in pools if each}  # type: ignore[attr-defined]
    assert len(pools) > 1
    assert [kind.__name__ for kind in backends] == ["_WideBackend"]


def test_a_transport_of_another_kind_is_left_alone() -> None:
    with httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(204))) as client:
        assert widen(client).get("http://x.test").status_code == 204


def test_an_encrypted_connection_carries_everything(tmp_path: Path) -> None:
    """Also where a look at the clock comes in the middle of a record."""
    certificate = _certificate(tmp_path)
    with HTTPServer(("127.0.0.1", 0), _Content) as server:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        trust = ssl.create_default_context(cafile=certificate)
        try:
            with widen(httpx.Client(verify=trust)) as client:
                url = f"https://127.0.0.1:{server.server_address[1]}/"
                assert client.get(url).content == CONTENT
                assert client.get(url).content == CONTENT
                with heeding(RetryPolicy()):
                    assert client.get(url).content == CONTENT
                    assert client.put(url, content=CONTENT).content == CONTENT
        finally:
            server.shutdown()
            thread.join()


class _Content(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)
        self.close_connection = self.headers.get("connection") == "close"

    def do_PUT(self) -> None:
        """What is sent comes back, half of it after a while in which nobody takes any."""
        half, length = len(CONTENT) // 2, int(self.headers["content-length"])
        taken = self.rfile.read(half)
        time.sleep(0.5)
        taken += self.rfile.read(length - half)
        self.send_response(200)
        self.send_header("Content-Length", str(len(taken)))
        self.end_headers()
        self.wfile.write(taken[:half])
        time.sleep(0.5)
        self.wfile.write(taken[half:])

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def _certificate(folder: Path) -> Path:
    """A key and its certificate for this machine, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(key.private_bytes(pem, *plain) + signed.public_bytes(pem))
    return path
