"""References in other documents: all are found, and what is none stays as it is."""

from __future__ import annotations

import json
from collections import namedtuple
from typing import Any
from uuid import uuid4

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argosy import FileReference, references, references_in
from argosy.envelope import SCHEMA, read_envelope, read_json
from argosy.errors import InvalidMessage, InvalidReference
from argosy.references import key_of, replaced
from tests.unit.test_docs import ROOT
from tests.unit.test_reference import DOCUMENT, WRONG
from tests.unit.test_reference import references as some_reference

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def another(**changes: Any) -> dict[str, Any]:
    return {**DOCUMENT, "id": str(uuid4()), **changes}


def schema_of(name: str) -> Any:
    return json.loads((ROOT / "docs" / f"{name}.schema.json").read_text())


# Finding


def test_anywhere_and_in_order() -> None:
    first, second, third, fourth = (another() for _ in range(4))
    message = {"a": [1, {"b": first}, [second]], "c": third, "d": [[[[fourth]]]]}
    found = [str(reference.id) for reference in references_in(message)]
    assert found == [one["id"] for one in (first, second, third, fourth)]


def test_a_file_that_is_named_twice_is_found_once() -> None:
    one = another()
    assert len(references_in([one, {"again": one}, {**one, "grants": ["read:x"]}])) == 1
    assert len(references_in([one, {**one, "sha256": "c" * 64}])) == 2


def test_the_document_itself() -> None:
    assert references_in(DOCUMENT) == [FileReference.parse(DOCUMENT)]
    assert references_in(FileReference.parse(DOCUMENT)) == [FileReference.parse(DOCUMENT)]


@settings(max_examples=30, deadline=None)
@given(plain)
def test_there_are_none(document: Any) -> None:
    assert references_in(document) == []
    assert replaced(document, {}) == document


@settings(max_examples=30, deadline=None)
@given(plain, some_reference)
def test_beside_anything(document: Any, reference: FileReference) -> None:
    message = json.loads(json.dumps({"x": document, "file": reference.document()}))
    assert references_in(message) == [reference]
    assert replaced(message, {key_of(reference): "here"}) == {"x": document, "file": "here"}


@pytest.mark.parametrize(
    "value",
    [
        json.dumps(DOCUMENT),
        {"schema": "argosy.message/v1"},
        {"schema": 5},
        {"schema": ["argosy.file/v1"]},
        {name: value for name, value in DOCUMENT.items() if name != "schema"},
        {"argosy.file/v1": "schema"},
        None,
        5,
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_reference(value: Any) -> None:
    assert references_in(value) == []
    assert references_in([value]) == []


def test_what_a_reference_holds_is_its_own() -> None:
    held = {**DOCUMENT, "metadata": {"about": json.dumps(another())}}
    assert [str(one.id) for one in references_in(held)] == [DOCUMENT["id"]]


# What is wrong


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: repr(value)[:30])
def test_a_broken_one_is_found_by_its_place(field: str, value: Any) -> None:
    broken = {**DOCUMENT, field: value}
    if field == "schema" and value is None:
        return
    with pytest.raises(InvalidReference, match=r"^At \$\.inputs\[1\]\.file: "):
        references_in({"inputs": [DOCUMENT, {"file": broken}]})


def test_a_newer_version() -> None:
    with pytest.raises(InvalidReference, match=r"version 2, made by a newer Argosy.*upgrade"):
        references_in([{**DOCUMENT, "schema": "argosy.file/v2"}])


@pytest.mark.parametrize("version", ["", "v", "v0", "1", "v1 ", "v1.1", "v-1", "v" + "9" * 5000])
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(InvalidReference, match=r"no version of a file reference"):
        references_in([{**DOCUMENT, "schema": f"argosy.file/{version}"}])


def test_an_older_version_is_read_by_its_own_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place where a version is added: its predecessor's documents stay good."""

    def read_second(document: Any) -> FileReference:
        return FileReference.parse({**document, "schema": "argosy.file/v1", "name": "second"})

    monkeypatch.setitem(references.READERS, 2, read_second)
    first, second = another(), another(schema="argosy.file/v2")
    assert [one.name for one in references_in([first, second])] == ["file.txt", "second"]
    with pytest.raises(InvalidReference, match="version 3"):
        references_in([another(schema="argosy.file/v3")])


def nested(depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = [inner]
    return inner


def test_depth() -> None:
    assert len(references_in(nested(200, DOCUMENT))) == 1
    assert replaced(nested(200, DOCUMENT), {key_of(FileReference.parse(DOCUMENT)): 1}) == nested(
        200, 1
    )
    with pytest.raises(InvalidMessage, match="more than 250"):
        references_in(nested(100_000, DOCUMENT))


def test_a_document_that_holds_itself() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InvalidMessage, match="more than 250"):
        references_in(endless)


def test_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "MOST", 1000)
    assert references_in([[]] * 999) == []
    with pytest.raises(InvalidMessage, match="more than 1,000 lists"):
        references_in([[]] * 1000)


def test_many() -> None:
    many = [another() for _ in range(300)]
    assert len(references_in({"files": many * 3})) == 300
    with pytest.raises(InvalidMessage, match="more than 100 files"):
        references_in({"files": many}, limit=100)
    assert len(references_in({"files": many[:100]}, limit=100)) == 100


# Replacing


def test_types_stay() -> None:
    pair = namedtuple("pair", "a b")
    reference = FileReference.parse(DOCUMENT)
    arguments = ((reference, [1]), {"x": (2, {"y": DOCUMENT}), "z": pair(1, 2)})
    got = replaced(arguments, {key_of(reference): "path"})
    assert got == (("path", [1]), {"x": (2, {"y": "path"}), "z": pair(1, 2)})
    assert type(got[1]["z"]) is pair


# Envelopes

ENVELOPE = {
    "schema": SCHEMA,
    "id": str(uuid4()),
    "from": "weather",
    "sent_at": "2026-01-02T03:04:05+00:00",
    "body": {"rain": True},
    "attachments": [DOCUMENT],
}


def test_an_envelope_is_read() -> None:
    read = read_envelope(ENVELOPE)
    assert read
    assert (read.sender, read.body) == ("weather", {"rain": True})
    assert read.attachments == (FileReference.parse(DOCUMENT),)


@pytest.mark.parametrize(
    "other", [None, [], {}, "x", {"schema": "mine/v1"}, {"schema": 1}, {"a": 1}]
)
def test_a_document_of_another_kind(other: Any) -> None:
    assert read_envelope(other) is None


@pytest.mark.parametrize(
    "change",
    [
        {"id": "x"},
        {"id": None},
        {"sent_at": "now"},
        {"sent_at": "2026-01-02T03:04:05"},
        {"from": "A B"},
        {"from": 5},
        {"attachments": {}},
        {"attachments": [5]},
        {"attachments": [{"name": "x"}]},
        {"attachments": [{**DOCUMENT, "size": -1}]},
        {"body_reference": DOCUMENT},
        {"schema": "argosy.message/v2"},
    ],
    ids=str,
)
def test_a_broken_envelope(change: dict[str, Any]) -> None:
    with pytest.raises((InvalidMessage, InvalidReference)):
        read_envelope({**ENVELOPE, **change})
    if not change.keys() & {"sent_at", "id"} or change == {"id": None}:  # formats are only notes
        with pytest.raises(jsonschema.ValidationError):
            _validate({**ENVELOPE, **change})


def test_a_body_must_be_somewhere() -> None:
    without = {name: value for name, value in ENVELOPE.items() if name != "body"}
    with pytest.raises(InvalidMessage, match="one of body"):
        read_envelope(without)
    with pytest.raises(jsonschema.ValidationError):
        _validate(without)
    for whole in ({**without, "body": None}, {**without, "body_reference": DOCUMENT}):
        assert read_envelope(whole)
        _validate(whole)


def test_what_a_later_version_adds_is_left_aside() -> None:
    assert read_envelope({**ENVELOPE, "priority": 5})


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"NaN", b'{"a": Infinity}', b"[" * 100_000, "ü".encode("latin-1"), b"\0"],
    ids=lambda data: repr(data)[:20],
)
def test_no_json(data: bytes) -> None:
    with pytest.raises(InvalidMessage, match="no JSON in UTF-8"):
        read_json(data)


# The published schemas


def _validate(document: Any) -> None:
    jsonschema.Draft202012Validator(schema_of("message")).validate(document)


@settings(max_examples=30, deadline=None)
@given(some_reference)
def test_every_reference_fits_the_schema(reference: FileReference) -> None:
    jsonschema.Draft202012Validator(schema_of("reference")).validate(reference.document())


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: repr(value)[:30])
def test_what_is_refused_does_not_fit_the_schema(field: str, value: Any) -> None:
    if value in ("not-an-id", "me", "yesterday") or (field, value) == ("sha256", "a" * 64 + "\n"):
        return  # formats are notes in JSON Schema, and `$` is before a last line break in Python
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema_of("reference")).validate({**DOCUMENT, field: value})


def test_a_reference_needs_its_schema() -> None:
    without = {name: value for name, value in DOCUMENT.items() if name != "schema"}
    with pytest.raises(jsonschema.ValidationError, match="schema"):
        jsonschema.Draft202012Validator(schema_of("reference")).validate(without)


@pytest.mark.parametrize("name", ["reference", "message"])
def test_the_schemas_are_schemas_of_their_version(name: str) -> None:
    schema = schema_of(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] in ("urn:argosy:file:v1", "urn:argosy:message:v1")
