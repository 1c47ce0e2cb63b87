"""Which type a file is called by, and when that is recorded as a contradiction."""

from __future__ import annotations

import random

import pytest

from tests.unit.media.looking import UNKNOWN, look

JSON = b'{"a": 1}'
CSV = b"a,b\n1,2\n"
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")


@pytest.mark.parametrize(
    ("content", "declared", "called", "contradicted"),
    [
        (CSV, "text/csv", "text/csv", None),
        (CSV, "TEXT/CSV; charset=utf-8", "text/csv", None),
        (CSV, "text/markdown", "text/markdown", None),
        (CSV, "text/x-python", "text/x-python", None),
        (CSV, "application/yaml", "application/yaml", None),
        (CSV, UNKNOWN, "text/plain", None),
        (CSV, "", "text/plain", None),
        (CSV, "binary/octet-stream", "text/plain", None),
        (CSV, "application/json", "text/plain", "application/json"),
        (CSV, "image/svg+xml", "text/plain", "image/svg+xml"),
        (CSV, "application/pdf", "text/plain", "application/pdf"),
        (CSV, "image/jpeg", "text/plain", "image/jpeg"),
        (CSV, "application/zip", "text/plain", "application/zip"),
        (JSON, "application/json; charset=utf-8", "application/json", None),
        (JSON, "text/json", "application/json", None),
        (JSON, "application/geo+json", "application/geo+json", None),
        (JSON, "text/plain", "text/plain", None),
        (JSON, "text/csv", "application/json", "text/csv"),
        (b"<?xml version='1.0'?><rss/>", "application/rss+xml", "application/rss+xml", None),
        (b"<?xml version='1.0'?><rss/>", "text/xml", "application/xml", None),
        (b"<?xml version='1.0'?><rss/>", "image/svg+xml", "application/xml", "image/svg+xml"),
        (b"<!doctype html><html>", "text/plain", "text/plain", None),
        (b"<!doctype html><html>", "application/xhtml+xml", "application/xhtml+xml", None),
        (b"<!doctype html><html>", "image/png", "text/html", "image/png"),
        (PNG, "image/x-png", "image/png", None),
        (PNG, "image/jpeg", "image/png", "image/jpeg"),
        (PNG, "text/plain", "image/png", "text/plain"),
        (b"", "text/plain", "application/x-empty", "text/plain"),
        (b"", UNKNOWN, "application/x-empty", None),
        (b"\0\1\2\3 unheard of", "application/x-of-mine", "application/x-of-mine", None),
        (b"\0\1\2\3 unheard of", "image/jpeg", UNKNOWN, "image/jpeg"),
        (b"\0\1\2\3 unheard of", "text/plain", UNKNOWN, "text/plain"),
        (b"\0\1\2\3 unheard of", "application/zip", UNKNOWN, "application/zip"),
        (b"PK\x05\x06" + bytes(18), "application/java-archive", "application/java-archive", None),
        (b"PK\x05\x06" + bytes(18), "application/x-zip-compressed", "application/zip", None),
        (b"PK\x05\x06" + bytes(18), "application/vnd.rar", "application/zip",
         "application/vnd.rar"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/msword", "application/msword", None),
        (b"\x1f\x8b\x08" + bytes(20), "text/csv", "application/gzip", "text/csv"),
    ],
)  # fmt: skip
def test_types_that_agree(
    content: bytes, declared: str, called: str, contradicted: str | None
) -> None:
    facts = look(content, declared_type=declared)
    assert (facts.content_type, facts.declared_type) == (called, contradicted)


def test_a_name_counts_only_between_texts_that_bytes_do_not_tell_apart() -> None:
    assert look(CSV, name="table.csv").content_type == "text/csv"
    assert look(CSV, name="table.jpg").content_type == "text/plain"
    assert look(PNG, name="table.csv").content_type == "image/png"
    assert look(PNG, name="table.csv").declared_type is None
    assert look(CSV, name="table.csv", declared_type="text/markdown").content_type == (
        "text/markdown")  # fmt: skip


def test_noise_called_a_picture() -> None:
    for seed in range(200):
        noise = random.Random(seed).randbytes(5000)
        facts = look(noise, name="photo.jpg", declared_type="image/jpeg")
        assert (facts.kind, facts.content_type) == ("other", UNKNOWN), seed
        assert facts.declared_type == "image/jpeg"


def test_what_is_no_type_says_nothing() -> None:
    for nonsense in ("\0\ud800", "text/a\0b", "text", "text/", "*/*", "text/" + "x" * 500):
        facts = look(PNG, declared_type=nonsense)
        assert (facts.content_type, facts.declared_type) == ("image/png", None)
    assert look(CSV, declared_type="text/a\0b").content_type == "text/plain"
