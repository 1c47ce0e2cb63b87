"""Which pages may use Supabase: the origins of the settings, and nobody else."""

from __future__ import annotations

import socket
from collections import Counter

import httpx
import pytest

from tests.integration.gateway.servers import ORIGIN, OTHER_ORIGIN, Gateway, running
from tests.unit.storage.scripted import ScriptedServer, answer

NOT_ALLOWED = [
    "null",
    "https://evil.example.com",
    "http://app.example.com",
    "https://app.example.com:444",
    "https://app.example.com.evil.com",
    "https://evil-app.example.com",
    "https://appXexample.com",
    "https://app.example.com/",
    "https://app.example.com, https://app.example.com",
    "https://app.example.com https://evil.example.com",
    "*",
    "",
]
ASKED = "authorization, apikey, x-client-info, x-upsert, tus-resumable, x-amz-meta-colour"
PREFLIGHT = {"access-control-request-method": "PUT", "access-control-request-headers": ASKED}
OBJECT = "/storage/v1/object/bucket/name"


def cors_headers(answer: httpx.Response) -> dict[str, str]:
    """The answer's CORS headers, of which none may be there twice."""
    names = [name.lower().decode() for name, _ in answer.headers.raw]
    for name in (*names, "vary"):
        if name.startswith("access-control-") or name in ("vary", "x-content-type-options"):
            assert Counter(names)[name] == 1, f"{name} is there {Counter(names)[name]} times"
    return {name: value for name, value in answer.headers.items() if "access-control" in name}


def assert_allowed(answer: httpx.Response, origin: str = ORIGIN) -> None:
    headers = cors_headers(answer)
    assert headers["access-control-allow-origin"] == origin
    assert headers["access-control-allow-credentials"] == "true"
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", [ORIGIN, OTHER_ORIGIN])
def test_an_allowed_origin_is_named(
    scripted: Gateway, upstream: ScriptedServer, origin: str
) -> None:
    answered = httpx.get(scripted.url + OBJECT, headers={"origin": origin})
    assert_allowed(answered, origin)
    assert answered.headers["vary"] == "Origin"
    assert upstream.requests[0].headers["origin"] == origin


def test_a_page_may_read_what_clients_need(scripted: Gateway) -> None:
    answered = httpx.get(scripted.url + OBJECT, headers={"origin": ORIGIN})
    exposed = answered.headers["access-control-expose-headers"].lower().split(", ")
    needed = {"etag", "content-range", "content-length", "accept-ranges", "location"}
    needed |= {"upload-offset", "tus-resumable", "x-amz-request-id", "x-amz-meta-sha256"}
    assert needed <= set(exposed)
    assert "*" not in exposed


@pytest.mark.parametrize("origin", NOT_ALLOWED)
def test_any_other_origin_gets_no_cors_header(
    scripted: Gateway, upstream: ScriptedServer, origin: str
) -> None:
    answered = httpx.get(scripted.url + OBJECT, headers={"origin": origin})
    assert answered.status_code == 200
    assert cors_headers(answered) == {}
    assert answered.headers["vary"] == "Origin"
    assert len(upstream.requests) == 1


def test_without_an_origin_there_is_no_cors_header(scripted: Gateway) -> None:
    answered = httpx.get(scripted.url + OBJECT)
    assert answered.status_code == 200
    assert cors_headers(answered) == {}
    assert answered.headers["vary"] == "Origin"


def test_two_origin_headers_are_no_origin(scripted: Gateway) -> None:
    headers = [("origin", ORIGIN), ("origin", "https://evil.example.com")]
    answered = httpx.get(scripted.url + OBJECT, headers=headers)
    assert cors_headers(answered) == {}


# Preflights


def test_a_preflight_of_put_is_answered_here(scripted: Gateway, upstream: ScriptedServer) -> None:
    answered = httpx.options(scripted.url + OBJECT, headers={"origin": ORIGIN, **PREFLIGHT})
    assert answered.status_code == 204
    assert answered.content == b""
    assert_allowed(answered)
    assert "PUT" in answered.headers["access-control-allow-methods"].split(", ")
    assert answered.headers["access-control-allow-headers"] == ASKED
    assert int(answered.headers["access-control-max-age"]) > 0
    assert "Access-Control-Request-Headers" in answered.headers["vary"]
    assert upstream.requests == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
def test_every_method_of_storage_is_allowed(scripted: Gateway, method: str) -> None:
    asked = {"origin": ORIGIN, "access-control-request-method": method}
    answered = httpx.options(scripted.url + OBJECT, headers=asked)
    assert method in answered.headers["access-control-allow-methods"].split(", ")
    assert "access-control-allow-headers" not in answered.headers  # none was asked for


@pytest.mark.parametrize("origin", [origin for origin in NOT_ALLOWED if origin])
def test_a_preflight_from_elsewhere_is_refused_here(
    scripted: Gateway, upstream: ScriptedServer, origin: str
) -> None:
    answered = httpx.options(scripted.url + OBJECT, headers={"origin": origin, **PREFLIGHT})
    assert answered.status_code == 403
    assert cors_headers(answered) == {}
    assert answered.headers["vary"].startswith("Origin")
    assert upstream.requests == []


@pytest.mark.parametrize(
    "asked", ["*", "x-ok, <script>", "a\tb", 'x"y', "x-ok; y", "x" * 5000, "ä"], ids=ascii
)
def test_what_is_no_list_of_header_names_is_not_repeated(scripted: Gateway, asked: str) -> None:
    names = ("origin", "access-control-request-method", "access-control-request-headers")
    values = (ORIGIN, "PUT", asked)
    headers = [(name.encode(), value.encode()) for name, value in zip(names, values, strict=True)]
    answered = httpx.options(scripted.url + OBJECT, headers=headers)
    assert answered.status_code == 204
    assert "access-control-allow-headers" not in cors_headers(answered)


@pytest.mark.parametrize(
    "headers",
    [{}, {"origin": ORIGIN}, {"access-control-request-method": "PUT"}],
    ids=["plain", "of a page", "without an origin"],
)
def test_other_options_requests_are_supabases(
    scripted: Gateway, upstream: ScriptedServer, headers: dict[str, str]
) -> None:
    upstream.script(answer(204, Tus_Version="1.0.0"))
    answered = httpx.options(scripted.url + "/storage/v1/upload/resumable", headers=headers)
    assert answered.headers["tus-version"] == "1.0.0"
    assert len(upstream.requests) == 1


# Errors


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 416, 429, 500, 503])
def test_errors_of_supabase_can_be_read(
    scripted: Gateway, upstream: ScriptedServer, status: int
) -> None:
    upstream.script(answer(status, b"why", Content_Type="text/plain"))
    answered = httpx.get(scripted.url + OBJECT, headers={"origin": ORIGIN})
    assert (answered.status_code, answered.text) == (status, "why")
    assert_allowed(answered)


def test_errors_of_the_real_server_can_be_read(gateway: Gateway, rest: httpx.Client) -> None:
    no_token = httpx.get(gateway.url + OBJECT, headers={"origin": ORIGIN})
    no_route = rest.get("/nowhere", headers={"origin": ORIGIN})
    assert (no_token.status_code, no_route.status_code) == (400, 404)
    assert_allowed(no_token)
    assert_allowed(no_route)


def test_a_body_too_large_for_anything_but_storage_is_refused(scripted: Gateway) -> None:
    body = bytes(11 * 1024 * 1024)
    answered = httpx.post(scripted.url + "/rest/v1/x", content=body, headers={"origin": ORIGIN})
    assert answered.status_code == 413
    assert_allowed(answered)


def test_no_supabase_is_a_502_that_can_be_read() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        with running(f"http://127.0.0.1:{unused.getsockname()[1]}") as gateway:
            answered = httpx.get(gateway.url + OBJECT, headers={"origin": ORIGIN})
            foreign = httpx.get(gateway.url + OBJECT, headers={"origin": "null"})
    assert (answered.status_code, foreign.status_code) == (502, 502)
    assert_allowed(answered)
    assert cors_headers(foreign) == {}


def test_a_slow_supabase_is_a_504_that_can_be_read(upstream: ScriptedServer) -> None:
    upstream.script(upstream.stall())
    with running(upstream.url, edit=_impatient) as gateway:
        answered = httpx.get(gateway.url + "/auth/v1/user", headers={"origin": ORIGIN})
    assert answered.status_code == 504
    assert_allowed(answered)


def _impatient(text: str) -> str:
    assert text.count("proxy_read_timeout 60s;") == 1
    return text.replace("proxy_read_timeout 60s;", "proxy_read_timeout 100ms;")


# What Supabase's own gateway says


def test_headers_of_supabases_own_gateway_are_replaced(
    scripted: Gateway, upstream: ScriptedServer
) -> None:
    its_own = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "GET,TRACE",
        "Access-Control-Allow-Headers": "*",
        "Access-Control-Allow-Private-Network": "true",
        "Access-Control-Expose-Headers": "*",
        "Access-Control-Max-Age": "3600",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Origin",
    }
    upstream.script(answer(200, b"", **{name.replace("-", "_"): v for name, v in its_own.items()}))
    allowed = httpx.get(scripted.url + OBJECT, headers={"origin": ORIGIN})
    foreign = httpx.get(scripted.url + OBJECT, headers={"origin": "https://evil.example.com"})
    assert_allowed(allowed)
    assert "*" not in str(cors_headers(allowed))
    assert cors_headers(foreign) == {}


@pytest.mark.parametrize(
    ("its_own", "vary"),
    [
        ("Accept-Encoding", "Origin, Accept-Encoding"),
        ("Accept-Encoding, Origin", "Accept-Encoding, Origin"),
        ("origin", "origin"),
        ("X-Origin-Of", "Origin, X-Origin-Of"),
        ("*", "*"),
    ],
)
def test_vary_is_one_line(
    scripted: Gateway, upstream: ScriptedServer, its_own: str, vary: str
) -> None:
    upstream.script(answer(200, b"", Vary=its_own))
    answered = httpx.get(scripted.url + OBJECT)
    cors_headers(answered)
    assert answered.headers["vary"] == vary


def test_no_version_is_told(scripted: Gateway) -> None:
    assert httpx.get(scripted.url + "/nowhere").headers["server"] == "nginx"
