"""The gateway's settings, and the nginx configuration made of them."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from argosy import origins
from argosy.description import object_metadata
from argosy.gateway_settings import DEVELOPMENT_ORIGINS, GatewaySettings
from argosy.settings import SettingsError, environment_name, load
from worker.gateway import EXPOSED_HEADERS, render

UPSTREAM = "http://127.0.0.1:54321"
INJECTIONS = [
    'https://a.example.com";} server { listen 1; #',
    "https://a.example.com;",
    "https://a.example.com\n}",
    "https://a.example\n.com",
    "https://a.example.com $uri",
    "https://a.example.com#",
    "https://$host",
    "https://a.example.com'",
    "https://a.example.com\\",
    "https://a.example.com{}",
    "https://a.example.com`id`",
    "https://a.example.com\x00",
    "https://[::1%25;]",
    "https://[::1%eth0]",
    "https://@{listen}",
    "https://a.example.com:80;",
    "https://a.example.com:٨٠",
    "https://\u212aelvin.example.com",
]


@pytest.fixture(autouse=True)
def only_our_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("ARGOSY_GATEWAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ARGOSY_GATEWAY_UPSTREAM", UPSTREAM)


def read(monkeypatch: pytest.MonkeyPatch, **values: str) -> GatewaySettings:
    for name, value in values.items():
        monkeypatch.setenv(environment_name(name, GatewaySettings), value)
    return load(GatewaySettings)


def refused(monkeypatch: pytest.MonkeyPatch, **values: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(monkeypatch, **values)
    return str(caught.value)


# Settings


def test_by_default_it_is_production_and_lets_no_page_in() -> None:
    settings = load(GatewaySettings)
    assert settings.environment == "production"
    assert settings.allowed_origins == ()
    assert settings.listen == "127.0.0.1:8000"


def test_supabase_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARGOSY_GATEWAY_UPSTREAM")
    with pytest.raises(SettingsError, match="ARGOSY_GATEWAY_UPSTREAM is not set"):
        load(GatewaySettings)


def test_development_lets_in_the_developers_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, environment="development")
    assert settings.allowed_origins == DEVELOPMENT_ORIGINS
    assert all(origins.parse(origin).is_this_machine for origin in DEVELOPMENT_ORIGINS)


def test_named_origins_replace_those_of_development(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, environment="development", origins="http://localhost:9000")
    assert settings.allowed_origins == ("http://localhost:9000",)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("https://app.example.com:0443", "https://app.example.com"),
        ("https://app.example.com:8443", "https://app.example.com:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://my_app.example.com", "https://my_app.example.com"),
        ("https://192.0.2.7:8443", "https://192.0.2.7:8443"),
        ("https://[2001:DB8:0:0::1]", "https://[2001:db8::1]"),
        ("https://a.example.com,,https://b.example.com,", "https://a.example.com https://b.example.com"),
        (" https://a.example.com ,https://A.example.com", "https://a.example.com"),
        ("", ""),
    ],
)  # fmt: skip
def test_origins_are_written_as_browsers_do(
    monkeypatch: pytest.MonkeyPatch, written: str, meant: str
) -> None:
    assert " ".join(read(monkeypatch, origins=written).allowed_origins) == meant


MALFORMED = [
    ("*", "has a \\*"),
    ("https://*.example.com", "has a \\*"),
    ("null", "is null"),
    ("NULL", "is null"),
    ("app.example.com", "must look like"),
    ("https://", "must look like"),
    ("https://app.example.com/", "must look like"),
    ("https://app.example.com/path", "must look like"),
    ("https://app.example.com?query", "must look like"),
    ("https://user:password@app.example.com", "must look like"),
    ("https://app.example.com https://b.example.com", "must look like"),
    ("ftp://app.example.com", "must look like"),
    ("file:///tmp", "must look like"),
    ("chrome-extension://abcdef", "must look like"),
    ("https://app.example.com:0", "ports are 1 to 65535"),
    ("https://app.example.com:65536", "ports are 1 to 65535"),
    ("https://app..example.com", "host name that does not exist"),
    ("https://app-.example.com", "host name that does not exist"),
    (f"https://{'a' * 64}.example.com", "host name that does not exist"),
    (f"https://{'a.' * 126}com", "host name that does not exist"),
    ("https://1.2.3", "address that does not exist"),
    ("https://1.2.3.256", "address that does not exist"),
    ("https://[::1", "must look like"),
    ("https://[1::2::3]", "address that does not exist"),
    ("https://bücher.example", "is not ASCII"),
]


@pytest.mark.parametrize(("origin", "why"), MALFORMED)
@pytest.mark.parametrize("environment", ["development", "staging", "production"])
def test_a_malformed_origin_is_refused_by_its_place(
    monkeypatch: pytest.MonkeyPatch, environment: str, origin: str, why: str
) -> None:
    message = refused(
        monkeypatch, environment=environment, origins=f"https://ok.example.com,{origin}"
    )
    assert re.search(rf"ARGOSY_GATEWAY_ORIGINS: .*origin 2 .*{why}", message)
    assert "password" not in message  # what was given may be a secret in the wrong variable


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize(
    ("origin", "why"),
    [
        ("http://app.example.com", "not https"),
        ("http://localhost:3000", "not https"),
        ("https://localhost", "this machine"),
        ("https://LOCALHOST:8443", "this machine"),
        ("https://app.localhost", "this machine"),
        ("https://127.0.0.1", "this machine"),
        ("https://127.9.9.9", "this machine"),
        ("https://0.0.0.0", "this machine"),
        ("https://[::1]", "this machine"),
        ("https://[::]", "this machine"),
    ],
)
def test_only_development_takes_http_and_this_machine(
    monkeypatch: pytest.MonkeyPatch, environment: str, origin: str, why: str
) -> None:
    message = refused(monkeypatch, environment=environment, origins=origin)
    assert re.search(rf"ARGOSY_GATEWAY_ORIGINS: .*origin 1 .*{why}.*development", message)
    assert read(monkeypatch, environment="development", origins=origin).origins


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("environment", "prod", "'development', 'staging' or 'production'"),
        ("environment", "", "'development', 'staging' or 'production'"),
        ("upstream", "", "must look like"),
        ("upstream", "project.supabase.co", "must look like"),
        ("upstream", "https://project.supabase.co/storage/v1", "must look like"),
        ("upstream", "unix:/run/supabase.sock", "must look like"),
        ("listen", "8000", "ADDRESS:PORT"),
        ("listen", "localhost:8000", "ADDRESS:PORT"),
        ("listen", "*:8000", "ADDRESS:PORT"),
        ("listen", "::1:8000", "ADDRESS:PORT"),
        ("listen", "[127.0.0.1]:8000", "ADDRESS:PORT"),
        ("listen", "127.0.0.1:0", "ports are 1 to 65535"),
        ("listen", "127.0.0.1:65536", "ports are 1 to 65535"),
        ("listen", "127.0.0.1:8000 ssl", "ADDRESS:PORT"),
        ("listen", "127.0.0.1:8000;", "ADDRESS:PORT"),
        ("listen", "127.0.0.1:8000\n", "ADDRESS:PORT"),
        ("upstream_ca", "relative.pem", "give a whole path of letters"),
        ("upstream_ca", '/a.pem";', "give a whole path of letters"),
        ("upstream_ca", "/a.pem\n", "give a whole path of letters"),
        ("upstream_ca", "/$a", "give a whole path of letters"),
    ],
)
def test_other_malformed_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    message = refused(monkeypatch, **{name: value})
    assert f"ARGOSY_GATEWAY_{name.upper()}: " in message
    assert why in message


# The configuration


def test_each_origin_is_in_the_map_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render(read(monkeypatch, origins="https://a.example.com,https://b.example.com:8443"))
    for origin in ("https://a.example.com", "https://b.example.com:8443"):
        assert text.count(f'        "{origin}" "{origin}";\n') == 1


def test_no_wildcard_is_ever_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render(read(monkeypatch, environment="development"))
    sent = re.findall(r"^\s*add_header (\S+) (.+) always;$", text, re.MULTILINE)
    assert dict(sent)["Access-Control-Allow-Origin"] == "$cors_origin"
    assert len(sent) == len(re.findall(r"^\s*add_header ", text, re.MULTILINE))
    assert "*" not in EXPOSED_HEADERS


def test_no_place_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    for upstream in (UPSTREAM, "https://supabase.example.com"):
        assert "@" not in render(read(monkeypatch, upstream=upstream))


@pytest.mark.parametrize(
    ("url", "server", "scheme"),
    [
        ("http://kong:8000/", "kong:8000", "http"),
        ("http://supabase.internal", "supabase.internal:80", "http"),
        ("https://Files.Example.com", "files.example.com:443", "https"),
        ("http://[::1]:8000", "[::1]:8000", "http"),
    ],
)
def test_supabase_is_reached_where_its_url_says(
    monkeypatch: pytest.MonkeyPatch, url: str, server: str, scheme: str
) -> None:
    text = render(read(monkeypatch, upstream=url))
    assert f"        server {server};\n" in text
    assert set(re.findall(r"proxy_pass (.+);", text)) == {f"{scheme}://supabase"}


def test_a_certificate_is_checked_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render(read(monkeypatch, upstream="https://supabase.example.com", upstream_ca="/ca.pem"))
    assert "proxy_ssl_verify on;" in text
    assert 'proxy_ssl_name "supabase.example.com";' in text
    assert 'proxy_ssl_trusted_certificate "/ca.pem";' in text
    assert "proxy_ssl" not in render(read(monkeypatch, upstream=UPSTREAM))


def test_metadata_that_the_fleet_writes_may_be_read_by_pages() -> None:
    facts = object_metadata(
        name="a",
        owner=uuid4(),
        transfer=uuid4(),
        sha256="b",
        md5="c",
        expires_at=datetime.now(UTC),
    )
    assert {f"x-amz-meta-{name}" for name in facts} <= set(EXPOSED_HEADERS.split(", "))


def test_storage_has_time_and_no_limit_of_size(monkeypatch: pytest.MonkeyPatch) -> None:
    text = render(load(GatewaySettings))
    [storage] = re.findall(r"location ~ \^/storage/v1\S* \{(.*?)\n        \}", text, re.DOTALL)
    for directive in (
        "proxy_read_timeout 1h;",
        "proxy_send_timeout 1h;",
        "client_max_body_size 0;",
    ):
        assert directive in storage


# Nothing but plain values gets into it


@pytest.mark.parametrize("hostile", INJECTIONS, ids=ascii)
@pytest.mark.parametrize("name", ["origins", "upstream"])
def test_a_value_cannot_add_a_directive(
    monkeypatch: pytest.MonkeyPatch, name: str, hostile: str
) -> None:
    with pytest.raises(ValidationError):
        GatewaySettings(**{"upstream": UPSTREAM, name: hostile})


@given(st.text(alphabet="https://[a.b]:1%2;\"'{}$\\\n\t #*@_-é", max_size=40))
def test_whatever_is_taken_is_one_plain_word(text: str) -> None:
    try:
        settings = GatewaySettings(upstream=UPSTREAM, origins=f"https://{text}")
    except ValidationError:
        return
    plain = render(GatewaySettings(upstream=UPSTREAM))
    added = render(settings).splitlines()
    for line in plain.splitlines():
        if line:
            added.remove(line)
    for line in filter(None, added):
        assert re.fullmatch(r' {8}"(https://[a-z0-9._:\[\]-]+)" "\1";', line)


def test_unchecked_values_are_stopped_at_the_last_moment() -> None:
    settings = GatewaySettings.model_construct(
        environment="production",
        upstream=UPSTREAM,
        upstream_ca="/ca.pem",
        origins=('https://a.example.com";}',),
        listen="127.0.0.1:8000",
    )
    with pytest.raises(ValueError, match="plain text"):
        render(settings)
