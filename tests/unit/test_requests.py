"""Requests, checked at the door."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from celery import Celery, Signature, chain, chord, group
from celery.app.task import Context
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils import json as kombu_json

from argosy import FileReference
from argosy.description import OWN_PREFIX
from argosy.errors import Error, InvalidReference, InvalidRequest
from argosy.storage.metadata import to_headers
from models import Kind
from tasks import transfer
from tasks.envelope import FACE, check_signatures, put_on_once_checked, take_off
from tasks.requests import (
    CopyRequest,
    DownloadRequest,
    PinRequest,
    RegisterRequest,
    Request,
    ShareRequest,
    ThumbnailRequest,
    UploadManyRequest,
    UploadRequest,
    parse,
)
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


def test_a_batch() -> None:
    several = ["/spool/a.txt", "/spool/b.txt", "/spool/c.txt"]
    assert parse(UploadManyRequest, sources=several, bucket="b").real_name == "a.txt and 2 more"
    one = parse(UploadManyRequest, sources=several[:1], bucket="b")
    assert (one.kind, one.real_name) == (Kind.BATCH, "a.txt")


@pytest.mark.parametrize(
    ("sources", "wrong"),
    [
        ([], "sources: give at least 1"),
        (["/spool/a"] * 1001, "sources: give at most 1000"),
        (["/spool/a", "b"], r"sources\.1: give a whole path, from / on"),
        (["/spool/a", "/"], "sources: .*'/' has no file's name"),
        (["/spool/" + "a" * 1025], "sources: .* has no file's name"),
        (["/spool/a", 1], r"sources\.1: give a whole path, from / on"),
    ],
)
def test_a_batch_that_is_none(sources: list[Any], wrong: str) -> None:
    with pytest.raises(InvalidRequest, match=wrong):
        parse(UploadManyRequest, sources=sources, bucket="b")


def test_a_download() -> None:
    request = parse(DownloadRequest, reference=DOCUMENT, destination="/spool/new")
    assert request.kind == Kind.DOWNLOAD
    assert request.reference == FileReference.parse(DOCUMENT)


@pytest.mark.parametrize("destination", ["/spool/new/", "/spool/new/.", "/spool/"])
def test_a_download_is_to_a_file(destination: str) -> None:
    with pytest.raises(InvalidRequest, match="is a folder: name the file in it"):
        parse(DownloadRequest, reference=DOCUMENT, destination=destination)


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


# In whose words


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        (
            ShareRequest,
            {"share_with": ["role:nope"]},
            "share_with.0: give an agent's name, or role:admin, role:worker or role:reader.",
        ),
        (ShareRequest, {"share_with": "agent-b"}, 'share_with: give a list of names: ["agent-b"].'),
        (ShareRequest, {"share_with": ["b"], "seconds": -1.0}, "seconds: give more than 0."),
        (ShareRequest, {"share_with": ["b"], "access": "x"}, "access: give one of 'read' or 'wri"),
        (ThumbnailRequest, {"sizes": [0]}, "sizes.0: give 1 or more."),
        (ThumbnailRequest, {"unknown": 1}, "unknown: there is no such argument."),
        (DownloadRequest, {}, "destination: it is missing."),
        (DownloadRequest, {"destination": "a"}, "destination: give a whole path, from / on, of at"),
    ],
)
def test_what_is_allowed_is_said_in_words(
    kind: type[Request], arguments: dict[str, Any], words: str
) -> None:
    file = "file" if kind is ShareRequest else "reference"
    with pytest.raises(InvalidRequest) as caught:
        parse(kind, **{file: DOCUMENT}, **arguments)
    assert caught.value.message.startswith(f"Argument {words}")


# A file that its agent has stored itself

STORED = {"size": 10, "sha256": "d" * 64}
REGISTER: dict[str, Any] = {"reference": DOCUMENT, "etag": "b" * 32}


def test_a_second_try_to_register_is_the_same_request() -> None:
    """A client writes the reference anew; what only the fleet knows does not count."""
    first = parse(RegisterRequest, **REGISTER).fingerprint()
    for name, value in {
        "created_at": "2027-01-01T00:00:00Z",
        "expires_at": "9999-01-01T00:00:00Z",
        "grants": ["read:everybody"],
    }.items():
        again = {**REGISTER, "reference": {**DOCUMENT, name: value}}
        assert parse(RegisterRequest, **again).fingerprint() == first


@pytest.mark.parametrize(
    "change",
    [
        {"etag": "c" * 32},
        {"share_with": ["agent-b"]},
        {"reference": {**DOCUMENT, "sha256": "c" * 64}},
        {"reference": {**DOCUMENT, "metadata": {"a": "b"}}},
        {"reference": {**DOCUMENT, "encoding": "zstd", "stored": STORED}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_anything_else_registers_another(change: dict[str, Any]) -> None:
    one, other = parse(RegisterRequest, **REGISTER), parse(RegisterRequest, **REGISTER | change)
    assert one.fingerprint() != other.fingerprint()


@given(reference=json_values, etag=json_values)
def test_whatever_comes_to_be_registered(reference: Any, etag: Any) -> None:
    with pytest.raises((InvalidRequest, InvalidReference)):
        parse(RegisterRequest, reference=reference, etag=etag)


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=3000) | json_values, max_size=4))
def test_metadata_that_is_taken_fits_into_the_headers(metadata: dict[str, Any]) -> None:
    try:
        request = parse(UploadRequest, **GOOD, metadata=metadata)
    except InvalidRequest:
        return
    to_headers({OWN_PREFIX + name: value for name, value in request.metadata.items()})


def test_no_metadata_is_the_request_of_older_agents() -> None:
    without = parse(UploadRequest, **GOOD).fingerprint()
    assert parse(UploadRequest, **GOOD, metadata={}).fingerprint() == without
    assert parse(UploadRequest, **GOOD, metadata={"a": "b"}).fingerprint() != without


# A copy


def test_a_copy_is_asked_for_once_whatever_was_learnt_meanwhile() -> None:
    first = parse(CopyRequest, reference=DOCUMENT, bucket="kept")
    later = {**DOCUMENT, "grants": ["read:b"], "facts": {"kind": "other", "content_type": "a/b"}}
    again = parse(CopyRequest, reference=later, bucket="kept", idempotency_key="k")
    assert again.fingerprint() == first.fingerprint()
    other = parse(CopyRequest, reference=DOCUMENT, bucket="other")
    assert other.fingerprint() != first.fingerprint()


def test_a_copy_goes_beside_its_original_unless_it_was_said() -> None:
    request = parse(CopyRequest, reference=DOCUMENT)
    assert (request.target_bucket, request.real_name) == (DOCUMENT["bucket"], DOCUMENT["name"])
    assert parse(CopyRequest, reference=DOCUMENT, bucket="kept").target_bucket == "kept"


@given(reference=json_values, bucket=json_values, name=json_values)
def test_whatever_comes_to_be_copied(reference: Any, bucket: Any, name: Any) -> None:
    with pytest.raises((InvalidRequest, InvalidReference)):
        parse(CopyRequest, reference=reference, bucket=bucket, name=name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("path", "a//b"),
        ("path", "../b"),
        ("bucket", "no bucket"),
        ("content_type", "no type"),
        ("metadata", {"Upper Case": "x"}),
        ("metadata", {"a": "x" * 4000, "b": "y" * 4000}),
    ],
)
def test_a_reference_that_cannot_be_copied(name: str, value: Any) -> None:
    with pytest.raises((InvalidReference, InvalidRequest)):
        parse(CopyRequest, reference={**DOCUMENT, name: value})


# What a message keeps


def test_a_file_that_is_named_twice_is_pinned_once() -> None:
    place = {"bucket": DOCUMENT["bucket"], "path": DOCUMENT["path"]}
    other = {**place, "path": "a/b"}
    request = parse(PinRequest, message=DOCUMENT["id"], files=[DOCUMENT, other, place])
    assert [one.path for one in request.places] == [DOCUMENT["path"], "a/b"]


@given(message=json_values, files=json_values, to=json_values)
def test_whatever_comes_to_be_pinned(message: Any, files: Any, to: Any) -> None:
    with pytest.raises((InvalidRequest, InvalidReference)):
        parse(PinRequest, message=message, files=files, to=to)


@pytest.mark.parametrize("name", ["CC", "bcc", "Task", "id", "chain", "callbacks", "root_id"])
def test_a_chained_task_has_no_header_of_the_brokers_or_celerys(name: str) -> None:
    link = {"task": "mine.x", "args": [], "kwargs": {}, "options": {"headers": {name: ["inbox.b"]}}}
    with pytest.raises(InvalidRequest, match="header"):
        check_signatures({"link": [link]})


def test_a_chained_task_may_have_headers_of_its_own() -> None:
    options = {"headers": {"x-trace": "1"}, "queue": "inbox.me"}
    link = {"task": "mine.x", "args": [], "kwargs": {}, "options": options}
    check_signatures({"link": [link]})


def _written(canvas: Signature) -> dict[str, Any]:
    """As Celery writes it in a message."""
    document: dict[str, Any] = json.loads(kombu_json.dumps(canvas))
    return document


def test_whatever_celery_makes_of_ones_own_tasks_is_taken() -> None:
    app = Celery(set_as_current=False)

    def note() -> Signature:
        return app.signature("mine.note", args=({"task": "sweep the floor"},), queue="inbox.me")

    many = group(note(), chain(note(), group(note(), note()), note()))
    both = chord([note(), many], note() | note())
    last = note().on_error(note())
    last.link(both)
    link = _written(last)
    for canvas in (many, both, chain(many, note()), chain(note(), both), last):
        written = _written(canvas)
        check_signatures({"link": [written], "link_error": written, "chain": [link, written]})
        check_signatures({"chord": written})


@pytest.mark.parametrize("kind", ["group", "chain", "chord", "xmap", "xstarmap", "chunks"])
@pytest.mark.parametrize("name", [{}, {"task": None}, {"task": 7}, {"task": {"task": "mine.x"}}])
def test_what_has_a_kind_and_no_name_is_no_signature(kind: str, name: dict[str, Any]) -> None:
    one = {"task": "mine.x", "args": [], "kwargs": {}, "options": {}}
    held = {"tasks": [one], "header": [one], "body": one, "task": one, "it": [], "n": 1}
    bare = {**name, "args": [], "kwargs": held, "options": {}, "subtask_type": kind}
    around = {"task": "celery.group", "subtask_type": "group", "args": [], "options": {}}
    for carried in (
        {"chord": bare},
        {"link": [{**around, "kwargs": {"tasks": [one, bare]}}]},
        {"chain": [{**one, "options": {"link_error": bare}}]},
    ):
        with pytest.raises(InvalidRequest, match="no Celery signature"):
            check_signatures(carried)


def _typed(kind: str, value: Any) -> dict[str, Any]:
    """As kombu writes what JSON has no form for."""
    return {"__type__": kind, "__value__": value}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("priority", value) for value in ("x", -1, 256, 1.0, [1], {})),
        *(("task_id", value) for value in ("x" * 256, ["x"], 7)),
        *(("queue", value) for value in ("x" * 256, "ö" * 128, 7, {})),
        *(("reply_to", value) for value in ("x" * 256, {})),
        *(("routing_key", value) for value in ("x" * 256, {})),
        *(("expires", value) for value in ("x", [1], {"x": 1}, 10**18, float("nan"))),
        *((name, 2**70) for name in ("root_id", "group_id", "retries", "replaced_task_nesting")),
        *(("headers", {"x": value}) for value in (2**70, {"y": [2**70]})),
        ("headers", {"x": json.loads(kombu_json.dumps(UUID(int=7)))}),
        *(("headers", {"x": _typed("uuid", value)}) for value in ({"bad": 1}, {"hex": 7}, 7)),
        *((name, _typed("decimal", "x")) for name in ("expires", "shadow")),
        ("headers", {"x" * 256: 1}),
        *(("stamped_headers", ["x"]), ("stamps", {"x": 1})),
    ],
)
def test_an_option_that_the_broker_has_no_room_for(name: str, value: Any) -> None:
    """Once the file is there, it would be too late to say so."""
    link = {"task": "mine.x", "args": [], "kwargs": {}, "options": {name: value}}
    with pytest.raises(InvalidRequest):
        check_signatures({"link": [link]})


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 255, "queue": "x" * 255, "task_id": None},
        {"priority": None, "queue": None, "exchange": "", "routing_key": None, "reply_to": "r"},
        {"expires": 60, "headers": {"x": [1, 2.5, None, {"y": "z"}]}, "retries": 0, "stamps": {}},
        {"expires": "2030-01-01T00:00:00+00:00", "root_id": str(UUID(int=7)), "shadow": "name"},
        {"expires": json.loads(kombu_json.dumps(datetime(2030, 1, 1, tzinfo=UTC)))},
    ],
)
def test_options_that_it_has_room_for(options: dict[str, Any]) -> None:
    check_signatures({"link": [{"task": "mine.x", "args": [], "kwargs": {}, "options": options}]})


def test_every_request_can_be_chained() -> None:
    assert {f"transfer.{name}" for name in transfer.__all__} == FACE


def test_what_could_not_be_checked_is_not_sent() -> None:
    """Also where it is not the sender's fault: Celery would publish it as the task fails."""
    request = Context({"errbacks": [{"task": "mine.x"}], "chain": [{"task": "mine.y"}]})
    take_off(request)
    with pytest.raises(ZeroDivisionError), put_on_once_checked(request):
        assert request.errbacks
        raise ZeroDivisionError
    assert not request.errbacks
    assert not request.chain
