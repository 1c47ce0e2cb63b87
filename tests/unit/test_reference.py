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
from argosy.derived import Derived, Stored
from argosy.errors import InvalidReference
from argosy.facts import Facts, ImageFacts

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

STORED = {"size": 7, "sha256": "c" * 64, "md5": "d" * 32}
ENCODED = {**DOCUMENT, "encoding": "zstd", "stored": STORED}
FACTS = {"kind": "image", "content_type": "image/png", "image": {"width": 3, "height": 2}}
THUMBNAIL = {
    "kind": "thumbnail",
    "state": "made",
    "parameters": {"size": 128, "format": "webp", "truncated": False},
    "path": "22222222-2222-4222-8222-222222222222/1/derived/thumbnail-128.webp",
    "content_type": "image/webp",
    "size": 900,
    "sha256": "e" * 64,
    "width": 128,
    "height": 85,
}
UNMADE = {"kind": "compress", "state": "skipped", "reason": "it saves 1 %"}

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
hexadecimal = "0123456789abcdef"
sums = st.text(hexadecimal, min_size=64, max_size=64)
md5s = st.none() | st.text(hexadecimal, min_size=32, max_size=32)
stored = st.builds(Stored, size=st.integers(0, 5 * 2**40), sha256=sums, md5=md5s)
how_stored = st.just((None, None)) | st.tuples(st.sampled_from(["zstd", "gzip"]), stored)
derivatives = st.builds(
    Derived,
    kind=st.sampled_from(["thumbnail", "compress"]),
    state=st.sampled_from(["made", "failed", "skipped"]),
    parameters=st.dictionaries(text, st.booleans() | st.integers() | text, max_size=3),
    path=st.none() | text,
    content_type=st.none() | text,
    size=st.none() | st.integers(0, 2**40),
    sha256=st.none() | sums,
    reason=st.none() | text,
)
facts = st.builds(
    Facts,
    kind=st.just("image"),
    content_type=text,
    image=st.none() | st.builds(ImageFacts, width=st.integers(0, 9999), height=st.just(1)),
)
references = st.builds(
    lambda how, **fields: FileReference(encoding=how[0], stored=how[1], **fields),
    how_stored,
    id=st.uuids(),
    bucket=text,
    path=text,
    name=text,
    size=st.integers(0, 5 * 2**40),
    content_type=text,
    sha256=sums,
    md5=md5s,
    owner=st.uuids(),
    created_at=st.datetimes(timezones=st.just(UTC)),
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    grants=st.lists(text, max_size=3).map(tuple),
    chunk_size=st.integers(0, 2**40),
    chunk_count=st.integers(1, 10_000),
    facts=st.none() | facts,
    derivatives=st.lists(derivatives, max_size=2).map(tuple),
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
    ("encoding", "br"),
    ("stored", {**STORED, "size": -1}),
    ("stored", {**STORED, "sha256": None}),
    ("stored", {**STORED, "name": "x"}),
    ("facts", {}),
    ("facts", {**FACTS, "kind": "hologram"}),
    ("facts", {**FACTS, "guess": 1}),
    ("derivatives", [{}]),
    ("derivatives", [{**THUMBNAIL, "kind": "sculpture"}]),
    ("derivatives", [{**THUMBNAIL, "state": "late"}]),
    ("derivatives", [{**THUMBNAIL, "parameters": {"size": {}}}]),
    ("derivatives", [{**THUMBNAIL, "token": "secret"}]),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: repr(value)[:30])
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    with pytest.raises(InvalidReference) as caught:
        FileReference.parse({**DOCUMENT, field: value})
    assert field in caught.value.message
    assert "Pass the reference that the upload returned" in caught.value.message


@pytest.mark.parametrize("half", [{"encoding": "zstd"}, {"stored": STORED}])
def test_how_it_is_stored_and_what_lies_there_belong_together(half: dict[str, Any]) -> None:
    with pytest.raises(InvalidReference, match="encoding and stored belong together"):
        FileReference.parse({**DOCUMENT, **half})


@pytest.mark.parametrize("document", [DOCUMENT, ENCODED], ids=["as it is", "encoded"])
def test_the_size_of_the_object(document: dict[str, Any]) -> None:
    reference = FileReference.parse(document)
    assert (reference.size, reference.stored_size) == (12, 7 if reference.encoding else 12)


def test_what_is_not_known_is_not_on_the_wire() -> None:
    """A reader of before these fields, who refuses what it does not know, reads on."""
    document = FileReference.parse(DOCUMENT).document()
    assert document.keys() == DOCUMENT.keys()
    assert FileReference.parse(ENCODED).document() == ENCODED


def test_facts_and_derivatives_are_typed() -> None:
    said = {**DOCUMENT, "facts": FACTS, "derivatives": [THUMBNAIL, UNMADE]}
    reference = FileReference.parse(said)
    assert reference.facts
    assert reference.facts.image
    assert reference.facts.image.width == 3
    thumbnail, unmade = reference.derivatives
    assert (thumbnail.state, thumbnail.path, thumbnail.size) == ("made", THUMBNAIL["path"], 900)
    assert thumbnail.parameters == {"size": 128, "format": "webp", "truncated": False}
    assert (unmade.state, unmade.reason, unmade.path) == ("skipped", "it saves 1 %", None)
    assert FileReference.parse(json.loads(json.dumps(reference.document()))) == reference


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
