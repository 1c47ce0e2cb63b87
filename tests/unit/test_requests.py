"""Requests, checked at the door."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argosy import FileReference
from argosy.errors import Error, InvalidReference, InvalidRequest
from models import Kind
from tasks.requests import DownloadRequest, UploadRequest, parse
from tests.unit.test_reference import DOCUMENT

GOOD: dict[str, Any] = {"source": "/spool/file.txt", "bucket": "agent-transfers"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def test_an_upload() -> None:
    request = parse(UploadRequest, **GOOD)
    assert request.kind == Kind.UPLOAD
    assert request.real_name == "file.txt"
    assert request.media_type == "text/plain"


def test_a_download() -> None:
    request = parse(DownloadRequest, reference=DOCUMENT, destination="/spool/new")
    assert request.kind == Kind.DOWNLOAD
    assert request.reference == FileReference.parse(DOCUMENT)


def test_a_reference_may_come_as_itself() -> None:
    reference = FileReference.parse(DOCUMENT)
    assert parse(DownloadRequest, reference=reference, destination="/new").reference == reference


@pytest.mark.parametrize(
    ("name", "given_type", "expected"),
    [
        ("a.png", None, "image/png"),
        ("a.png", "application/x-mine", "application/x-mine"),
        ("a", None, "application/octet-stream"),
        ("größe 😀.PDF", None, "application/pdf"),
        ("a.html", "text/html; charset=utf-8", "text/html; charset=utf-8"),
        ("data:text", None, "application/octet-stream"),
    ],
)
def test_the_content_type(name: str, given_type: str | None, expected: str) -> None:
    request = parse(UploadRequest, **GOOD, name=name, content_type=given_type)
    assert request.media_type == expected


@given(st.text(min_size=1, max_size=80).filter(lambda name: not set(name) & {"/", "\0"}))
def test_a_name_may_be_any_unicode(name: str) -> None:
    request = parse(UploadRequest, **GOOD, name=name)
    assert request.real_name == name
    assert request.media_type.isascii()


WRONG: list[tuple[str, Any]] = [
    ("source", None),
    ("source", 5),
    ("source", True),
    ("source", b"/a"),
    ("source", ["/a"]),
    ("source", ""),
    ("source", "relative"),
    ("source", "/a\0"),
    ("source", "/" + "a" * 4096),
    ("source", "/a\udcff"),
    ("bucket", None),
    ("bucket", ""),
    ("bucket", ".."),
    ("bucket", "a/b"),
    ("bucket", "a" * 101),
    ("bucket", "bücket"),
    ("name", ""),
    ("name", "a/b"),
    ("name", "a\0b"),
    ("name", "a" * 1025),
    ("name", 5),
    ("content_type", "text"),
    ("content_type", "text/plain\n"),
    ("content_type", "text/plain\r\nx: y"),
    ("content_type", "a/" + "b" * 200),
    ("content_type", "téxt/plain"),
    ("unknown", 1),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda value: ascii(value)[:30])
def test_a_wrong_argument_is_named(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=name) as caught:
        parse(UploadRequest, **{**GOOD, name: value})
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_argument_is_named(name: str) -> None:
    rest = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(InvalidRequest, match=name):
        parse(UploadRequest, **rest)


@given(st.dictionaries(st.sampled_from(["source", "bucket", "name", "content_type"]), json_values))
def test_whatever_json_comes_the_answer_is_ours(arguments: dict[str, Any]) -> None:
    try:
        parse(UploadRequest, **arguments)
    except Error as error:
        assert isinstance(error, InvalidRequest)


@given(reference=json_values, destination=json_values)
def test_whatever_comes_for_a_download(reference: Any, destination: Any) -> None:
    with pytest.raises((InvalidRequest, InvalidReference)):
        parse(DownloadRequest, reference=reference, destination=destination)


@pytest.mark.parametrize("field", ["schema", "sha256", "size", "path"])
def test_a_wrong_reference_says_which_field(field: str) -> None:
    with pytest.raises(InvalidReference, match=field):
        parse(DownloadRequest, reference={**DOCUMENT, field: None}, destination="/new")


def test_the_same_request_has_the_same_fingerprint() -> None:
    again = dict(reversed(GOOD.items()))
    assert parse(UploadRequest, **GOOD).fingerprint() == parse(UploadRequest, **again).fingerprint()


@pytest.mark.parametrize(
    "change",
    [{"source": "/other"}, {"bucket": "other"}, {"name": "n"}, {"content_type": "a/b"}],
    ids=str,
)
def test_a_different_request_has_another(change: dict[str, str]) -> None:
    one, other = parse(UploadRequest, **GOOD), parse(UploadRequest, **{**GOOD, **change})
    assert one.fingerprint() != other.fingerprint()


def test_a_references_form_does_not_matter_to_the_fingerprint() -> None:
    reference = FileReference.parse(DOCUMENT)
    plain = {name: value for name, value in DOCUMENT.items() if value is not None}
    prints = {
        parse(DownloadRequest, reference=form, destination="/new").fingerprint()
        for form in (DOCUMENT, plain, reference, reference.document())
    }
    assert len(prints) == 1
