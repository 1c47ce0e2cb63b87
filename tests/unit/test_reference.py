"""The file reference: to JSON and back unchanged, and nothing else gets in."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.serialization import dumps, loads
from kombu.utils import json as kombu_json
from pydantic import ValidationError

from argosy import FileReference
from argosy.errors import InvalidReference

DOCUMENT: dict[str, Any] = {
    "schema": "argosy.file/v1",
    "id": "11111111-1111-4111-8111-111111111111",
    "bucket": "agent-transfers",
    "path": "22222222-2222-4222-8222-222222222222/1/file.txt",
    "name": "file.txt",
    "size": 12,
    "content_type": "text/plain",
    "encoding": None,
    "sha256": "a" * 64,
    "md5": "b" * 32,
    "owner": "22222222-2222-4222-8222-222222222222",
    "created_at": "2026-01-02T03:04:05.678901Z",
    "expires_at": None,
    "grants": [],
    "chunk_size": 12,
    "chunk_count": 1,
    "derivatives": [],
    "metadata": {},
}

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
hexadecimal = "0123456789abcdef"
references = st.builds(
    FileReference,
    id=st.uuids(),
    bucket=text,
    path=text,
    name=text,
    size=st.integers(0, 5 * 2**40),
    content_type=text,
    encoding=st.none() | text,
    sha256=st.text(hexadecimal, min_size=64, max_size=64),
    md5=st.none() | st.text(hexadecimal, min_size=32, max_size=32),
    owner=st.uuids(),
    created_at=st.datetimes(timezones=st.just(UTC)),
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    grants=st.lists(text, max_size=3).map(tuple),
    chunk_size=st.integers(0, 2**40),
    chunk_count=st.integers(1, 10_000),
    derivatives=st.lists(
        st.dictionaries(text, st.none() | st.booleans() | st.integers() | text, max_size=3),
        max_size=2,
    ).map(tuple),
    metadata=st.dictionaries(text, text, max_size=3),
)


@given(references)
def test_to_json_and_back(reference: FileReference) -> None:
    assert FileReference.parse(json.loads(json.dumps(reference.document()))) == reference


@given(references)
def test_through_kombus_json_and_back(reference: FileReference) -> None:
    content_type, encoding, body = dumps([[reference], {"also": reference}], "json")
    [[first], named] = loads(body, content_type, encoding, accept=["application/json"])
    assert FileReference.parse(first) == reference == FileReference.parse(named["also"])


def test_on_the_wire_it_is_a_plain_document() -> None:
    """A consumer without this library must be able to read the message."""
    reference = FileReference.parse(DOCUMENT)
    assert json.loads(kombu_json.dumps(reference)) == DOCUMENT


def test_the_document_names_its_version() -> None:
    assert FileReference.parse(DOCUMENT).document()["schema"] == "argosy.file/v1"


def test_a_reference_is_parsed_to_itself() -> None:
    reference = FileReference.parse(DOCUMENT)
    assert FileReference.parse(reference) is reference


def test_the_version_may_be_left_out() -> None:
    without = {name: value for name, value in DOCUMENT.items() if name != "schema"}
    assert FileReference.parse(without) == FileReference.parse(DOCUMENT)


WRONG: list[tuple[str, Any]] = [
    ("schema", "argosy.file/v2"),
    ("schema", None),
    ("id", "not-an-id"),
    ("id", None),
    ("bucket", ""),
    ("bucket", 5),
    ("path", ""),
    ("path", "a" * 1025),
    ("name", None),
    ("size", -1),
    ("size", "many"),
    ("size", None),
    ("content_type", ""),
    ("sha256", "A" * 64),
    ("sha256", "a" * 63),
    ("sha256", "a" * 64 + "\n"),
    ("md5", "x" * 32),
    ("owner", "me"),
    ("created_at", "yesterday"),
    ("chunk_count", 0),
    ("chunk_size", -1),
    ("metadata", {"a": 1}),
    ("metadata", []),
    ("grants", "all"),
    ("token", "secret"),
    ("path", "a\0b"),
    ("name", "a\0b"),
    ("metadata", {"a": "\0"}),
    ("size", 10**30),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: repr(value)[:30])
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidReference) as caught:
        FileReference.parse({**DOCUMENT, field: value})
    assert field in caught.value.message
    assert "Pass the reference that the upload returned" in caught.value.message


REQUIRED = ["id", "bucket", "path", "name", "size", "content_type", "sha256", "owner"]


@pytest.mark.parametrize("field", [*REQUIRED, "created_at", "chunk_size", "chunk_count"])
def test_a_missing_field_is_named(field: str) -> None:
    document = {name: value for name, value in DOCUMENT.items() if name != field}
    with pytest.raises(InvalidReference, match=field):
        FileReference.parse(document)


@pytest.mark.parametrize("document", [None, 5, "text", [], [DOCUMENT], {}, b"{}"], ids=repr)
def test_what_is_no_document_at_all(document: Any) -> None:
    with pytest.raises(InvalidReference):
        FileReference.parse(document)


def test_the_message_does_not_repeat_what_was_given() -> None:
    with pytest.raises(InvalidReference) as caught:
        FileReference.parse({**DOCUMENT, "sha256": "my-secret"})
    assert "my-secret" not in str(caught.value)


def test_a_reference_cannot_be_changed() -> None:
    reference = FileReference.parse(DOCUMENT)
    with pytest.raises(ValidationError):
        reference.size = 13  # type: ignore[misc]


def test_types_are_rich() -> None:
    reference = FileReference.parse(DOCUMENT)
    assert isinstance(reference.id, UUID)
    assert reference.created_at == datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
