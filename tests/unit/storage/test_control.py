"""Buckets, listings and removals, as Supabase's own client asks for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain

import pytest

from argosy import errors
from argosy.storage import pool
from argosy.storage.control import BucketInfo, ControlPlane
from argosy.storage.retry import RetryPolicy

from .scripted import ScriptedServer, Step, answer, reset

WHEN = "2026-11-22T10:00:00.000Z"
WANTED = BucketInfo("files", size_limit=1 << 40, allowed_types=("image/*",))


@pytest.fixture
def control(server: ScriptedServer, retries: RetryPolicy) -> Iterator[ControlPlane]:
    with pool.new_client() as http:
        yield ControlPlane(server.url, "service-key", http, retries=retries)


def says(said: object, status: int = 200) -> Step:
    return answer(status, json.dumps(said).encode(), content_type="application/json")


def refuses(status: int, code: str, message: str = "no") -> Step:
    """REST answers 400, whatever it means."""
    error = {"statusCode": str(status), "code": code, "error": code, "message": message}
    return says(error, 400)


def bucket(**changes: object) -> Step:
    row = {"id": "files", "name": "files", "owner": None, "public": False}
    row |= {"file_size_limit": 1 << 40, "allowed_mime_types": ["image/*"]}
    return says(row | {"created_at": WHEN, "updated_at": WHEN} | changes)


def test_a_bucket_and_its_limits(server: ScriptedServer, control: ControlPlane) -> None:
    server.script(bucket())
    assert control.get_bucket("files") == WANTED
    (request,) = server.requests
    assert request.path == "/storage/v1/bucket/files"
    assert request.headers["apikey"] == "service-key"
    assert request.headers["authorization"] == "Bearer service-key"


def test_a_bucket_as_wanted_is_left_alone(server: ScriptedServer, control: ControlPlane) -> None:
    server.script(bucket())
    assert control.ensure_bucket(WANTED) is False
    assert len(server.requests) == 1


def test_a_missing_bucket_is_created(server: ScriptedServer, control: ControlPlane) -> None:
    server.script(refuses(404, "NoSuchBucket"), says({"name": "files"}))
    assert control.ensure_bucket(WANTED) is True
    created = json.loads(server.requests[1].body)
    assert created["id"] == "files"
    assert created["public"] is False
    assert created["file_size_limit"] == 1 << 40
    assert created["allowed_mime_types"] == ["image/*"]


def test_two_may_create_it_at_once(server: ScriptedServer, control: ControlPlane) -> None:
    server.script(refuses(404, "NoSuchBucket"), refuses(409, "BucketAlreadyExists"), bucket())
    assert control.ensure_bucket(WANTED) is True


def test_another_limit_is_changed(server: ScriptedServer, control: ControlPlane) -> None:
    server.script(bucket(file_size_limit=None), says({"message": "Successfully updated"}))
    assert control.ensure_bucket(WANTED) is True
    assert server.requests[1].method == "PUT"
    assert json.loads(server.requests[1].body)["file_size_limit"] == 1 << 40


def listed(*names: str, cursor: str | None = None) -> Step:
    objects = [
        {
            "id": name,
            "name": name,
            "created_at": WHEN,
            "updated_at": WHEN,
            "metadata": {"size": 3, "eTag": '"v1"', "mimetype": "text/plain"},
        }
        for name in names
    ]
    page = {"hasNext": cursor is not None, "folders": [], "objects": objects}
    return says(page | ({"nextCursor": cursor} if cursor else {}))


def test_a_listing_goes_from_page_to_page(server: ScriptedServer, control: ControlPlane) -> None:
    server.script(listed("a/1", "a/2", cursor="next"), reset(), listed("a/3"))
    found = list(control.list_objects("files", "a/"))
    assert [entry.key for entry in found] == ["a/1", "a/2", "a/3"]
    assert (found[0].size, found[0].etag, found[0].content_type) == (3, "v1", "text/plain")
    asked = [json.loads(request.body) for request in server.requests]
    assert asked[0] == {"prefix": "a/", "limit": 1000, "with_delimiter": False}
    assert asked[2] == asked[0] | {"cursor": "next"}


def test_removal_in_batches_tells_what_went(server: ScriptedServer, control: ControlPlane) -> None:
    server.script(says([{"name": "k0"}]), says([]), says([{"name": "k1000"}]))
    keys = [f"k{number}" for number in range(1001)]
    assert control.remove("files", keys) == ["k0", "k1000"]
    batches = [json.loads(request.body)["prefixes"] for request in server.requests]
    assert [len(batch) for batch in batches] == [500, 500, 1]
    assert list(chain(*batches)) == keys


def test_info_decodes_the_metadata(server: ScriptedServer, control: ControlPlane) -> None:
    row = {"name": "a b/c+d", "size": 3, "content_type": "text/plain", "etag": '"v1"'}
    row |= {"metadata": {"name": "%D0%BF", "count": 3}, "created_at": WHEN}
    server.script(says(row))
    info = control.object_info("files", "a b/c+d?'(x)")
    assert info.metadata == {"name": "п", "count": "3"}
    assert (info.size, info.etag) == (3, "v1")
    assert server.requests[0].path.startswith("/storage/v1/object/info/files/a%20b/c+d%3F")


@pytest.mark.parametrize(
    ("step", "expected", "requests"),
    [
        (refuses(404, "NoSuchKey"), errors.ObjectNotFound, 1),
        (refuses(403, "AccessDenied", "row-level security"), errors.AccessDenied, 1),
        (refuses(403, "Unauthorized", "jwt expired"), errors.InvalidToken, 1),
        (refuses(503, "LockTimeout"), errors.StorageUnavailable, 6),
        (answer(502, b"<html>Bad Gateway"), errors.StorageUnavailable, 6),
        (answer(200, b"<html>Sign in"), errors.StorageUnavailable, 6),
        (says({"name": "k"}), errors.StorageUnavailable, 6),
        (says(["nothing"]), errors.StorageUnavailable, 6),
        (reset(), errors.StorageUnavailable, 6),
    ],
)
def test_errors_are_those_of_the_data_plane(
    server: ScriptedServer,
    control: ControlPlane,
    step: Step,
    expected: type[errors.Error],
    requests: int,
) -> None:
    server.script(step)
    with pytest.raises(expected, match="look at files/k") as caught:
        control.object_info("files", "k")
    assert "service-key" not in str(caught.value)
    assert len(server.requests) == requests


def test_retry_after_is_heard(
    server: ScriptedServer, control: ControlPlane, pauses: list[float]
) -> None:
    server.script(answer(429, b'{"message":"slow down"}', retry_after="4"), bucket())
    control.get_bucket("files")
    assert pauses == [4.0]


def test_dots_never_leave(server: ScriptedServer, control: ControlPlane) -> None:
    with pytest.raises(errors.InvalidRequest):
        control.remove("files", ["fine", "a/../../b"])
    with pytest.raises(errors.InvalidRequest):
        control.object_info("files", "../other")
    assert server.requests == []
