"""What the gateway writes down: who asked for what, and no key to it."""

from __future__ import annotations

import re

import httpx

from tests.integration.gateway.servers import ORIGIN, Gateway, ask, running
from tests.unit.storage.scripted import ScriptedServer, reset

SECRETS = {
    "query": "query-5e7c3e0b",
    "authorization": "authorization-5e7c3e0b",
    "apikey": "apikey-5e7c3e0b",
    "referer": "referer-5e7c3e0b",
    "user-agent": "agent-5e7c3e0b",
    "cookie": "cookie-5e7c3e0b",
}
TARGET = f"/storage/v1/object/sign/b/k?token={SECRETS['query']}&X-Amz-Signature={SECRETS['query']}"
HEADERS = {name: value for name, value in SECRETS.items() if name != "query"}


def test_a_request_is_one_line_without_its_query(
    gateway: Gateway, rest: httpx.Client, bucket: str
) -> None:
    rest.post(f"/object/{bucket}/name.bin", content=b"cargo")
    signed = rest.post(f"/object/sign/{bucket}/name.bin", json={"expiresIn": 60}).json()
    token = signed["signedURL"].partition("token=")[2]
    answered = httpx.get(f"{gateway.url}/storage/v1{signed['signedURL']}")
    assert answered.content == b"cargo"
    [line] = gateway.lines_about(f'"GET /storage/v1/object/sign/{bucket}/name.bin"')
    assert re.search(r'" 200 in=\d+ out=5 seconds=[\d.]+ upstream="200" origin="-"$', line)
    assert token
    assert token not in gateway.log()


def test_a_line_names_the_origin(gateway: Gateway) -> None:
    httpx.options(
        f"{gateway.url}/storage/v1/object/b/of-a-page",
        headers={"origin": "https://evil.example.com", "access-control-request-method": "PUT"},
    )
    [line] = gateway.lines_about("of-a-page")
    assert '" 403 ' in line
    assert line.endswith('upstream="-" origin="https://evil.example.com"')


def test_a_name_cannot_add_a_line(gateway: Gateway) -> None:
    httpx.get(f"{gateway.url}/storage/v1/object/b/first%0Anext%22%1b[0m")
    [line] = gateway.lines_about("next")
    assert r"/b/first\x0Anext\x22\x1B[0m" in line


def test_no_secret_is_written_when_supabase_fails(upstream: ScriptedServer) -> None:
    """nginx's error log would hold the whole URL."""
    upstream.script(reset())
    with running(upstream.url) as gateway:
        answered = httpx.get(gateway.url + TARGET, headers={**HEADERS, "origin": ORIGIN})
        large = {**HEADERS, "content-length": str(10**9)}
        too_large = ask(gateway, TARGET.replace("storage", "rest"), "POST", **large)
        lines = gateway.lines_about('object/sign/b/k" 502 ')
        lines += gateway.lines_about('object/sign/b/k" 413 ')
        log = gateway.log()
    assert (answered.status_code, too_large, len(lines)) == (502, 413, 2)
    assert not [name for name, value in SECRETS.items() if value in log]
