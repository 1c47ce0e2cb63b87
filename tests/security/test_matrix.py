"""The matrix: every role, in every place, with every operation, by both protocols."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

import httpx
import pytest

from tests.deployment import Deployment
from tests.security.matrix import (
    ALLOWED,
    ANSWERS,
    CALLERS,
    CELLS,
    OPERATIONS,
    Cell,
    may,
)
from tests.security.operations import ASKED, EFFECTS, SHOWN, UPLOADS, Question
from tests.security.world import (
    BUCKETS_OF_IT,
    FLEET,
    OTHER,
    READABLE,
    WRITABLE,
    Place,
    Snapshot,
    World,
    world_in,
)

pytestmark = pytest.mark.matrix

TABLES = ("s3_multipart_uploads", "s3_multipart_uploads_parts")
Changes = Mapping[tuple[Place, str], bytes | None]


@pytest.fixture(scope="module")
def world(deployment: Deployment) -> Iterator[World]:
    with world_in(deployment) as made:
        yield made


def test_every_operation_is_asked_and_looked_at() -> None:
    assert set(ASKED) == set(OPERATIONS) == set(SHOWN) | set(EFFECTS) | set(UPLOADS)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_cell(world: World, cell: Cell) -> None:
    here, own = world.places[cell.caller, cell.scope], world.places[cell.caller, "own folder"]
    question = Question(world, world.callers[cell.caller], here, own)
    if cell.outcome == ALLOWED:
        _is_allowed(question, cell)
    else:
        _is_refused(question, cell)


def _is_refused(q: Question, cell: Cell) -> None:
    name = cell.operation.name
    secrets = [q.here.content.decode(), q.here.etag] + ([SHOWN[name](q)] if name in SHOWN else [])
    answer = ASKED[name](q)
    assert _said(answer) == _expected(cell, answer)
    told = f"{answer.headers}{answer.text}"
    assert not [secret for secret in secrets if secret in told]
    assert not q.world.has_changed()
    for place, what in EFFECTS[name](q) if name in EFFECTS else ():
        there = place.content if what == "kept" else None
        assert q.world.bytes_of(place.bucket, getattr(place, what)) == there


def _is_allowed(q: Question, cell: Cell) -> None:
    name = cell.operation.name
    shown = SHOWN[name](q) if name in SHOWN else ""
    if name in {*EFFECTS, *UPLOADS}:
        answer = _changed(q, cell)
    else:
        answer = ASKED[name](q)
        assert not q.world.has_changed()
    assert answer.is_success, answer.text
    assert shown in f"{answer.headers}{answer.text}"


def _changed(q: Question, cell: Cell) -> httpx.Response:
    """The answer, once what was to change has changed; then it is as it was again."""
    name = cell.operation.name
    effect = EFFECTS[name](q) if name in EFFECTS else {}
    before = q.world.snapshot()
    try:
        answer = ASKED[name](q)
        if answer.is_success:
            _has_changed(q, before, q.world.snapshot(), effect, UPLOADS.get(name, (0, 0)))
    finally:
        q.world.restore(cell.caller, q.here, q.own)
    return answer


def _has_changed(
    q: Question, before: Snapshot, after: Snapshot, effect: Changes, uploads: tuple[int, int]
) -> None:
    """Exactly these objects differ, and by so many uploads and parts."""
    changed = {
        (place.bucket, getattr(place, name)): content for (place, name), content in effect.items()
    }
    rows = set(before["objects"]) ^ set(after["objects"])
    assert {key for key in changed if any(key[1] in row for row in rows)} == set(changed)
    assert len(rows) == _rows(before, changed)
    assert {key: q.world.bytes_of(*key) for key in changed} == changed
    assert tuple(len(after[what]) - len(before[what]) for what in TABLES) == uploads


def _rows(before: Snapshot, changed: Mapping[tuple[str, str], bytes | None]) -> int:
    """Rows that a change takes away or brings: a replaced object's are two."""
    there = {key for key in changed if any(key[1] in row for row in before["objects"])}
    return len(there) + sum(content is not None for content in changed.values())


def _expected(cell: Cell, answer: httpx.Response) -> tuple[int, str | None, str | None]:
    status, true_status, code = ANSWERS[cell.operation.protocol, cell.outcome]
    return (status, true_status, code) if answer.request.method != "HEAD" else (status, None, None)


def _said(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    """HTTP status, true status and code, as either protocol says them."""
    if answer.is_success or not answer.content:
        return answer.status_code, None, None
    if answer.content.startswith(b"{"):
        document = answer.json()
        return answer.status_code, document["statusCode"], document["code"]
    return answer.status_code, None, ET.fromstring(answer.content).findtext("{*}Code")


# Whole listings


def _rest_names(world: World, caller: str, bucket: str) -> set[str]:
    answer = world.callers[caller].rest("POST", f"object/list-v2/{bucket}", json={})
    return {entry["name"] for entry in answer.raise_for_status().json()["objects"]}


def _rest_folders(world: World, caller: str, bucket: str) -> set[str]:
    answer = world.callers[caller].rest("POST", f"object/list/{bucket}", json={"prefix": ""})
    return {entry["name"] for entry in answer.raise_for_status().json()}


def _s3_names(world: World, caller: str, bucket: str) -> set[str]:
    answer = world.callers[caller].s3("GET", f"{bucket}?list-type=2").raise_for_status()
    return {str(key.text) for key in ET.fromstring(answer.content).iterfind("{*}Contents/{*}Key")}


def _s3_folders(world: World, caller: str, bucket: str) -> set[str]:
    answer = world.callers[caller].s3("GET", f"{bucket}?list-type=2&delimiter=%2F")
    found = ET.fromstring(answer.raise_for_status().content)
    return {str(e.text).rstrip("/") for e in found.iterfind("{*}CommonPrefixes/{*}Prefix")}


LISTINGS = {
    "REST": _rest_names,
    "S3": _s3_names,
    "REST folders": _rest_folders,
    "S3 folders": _s3_folders,
}


def _readable(world: World, caller: str, bucket: str) -> set[str]:
    """By the table: one's own places, those of one's role, and buckets granted as a whole."""
    return {
        place.kept
        for (whose, scope), place in world.places.items()
        if place.bucket == bucket != OTHER
        and "r" in may(caller, "own folder")
        and (
            caller == "admin"
            or (caller == whose and "r" in may(caller, scope))
            or bucket in (READABLE, WRITABLE)
            or world.granted_role(whose, scope) == caller
        )
    }


@pytest.mark.parametrize("listing", LISTINGS)
@pytest.mark.parametrize("bucket", BUCKETS_OF_IT)
@pytest.mark.parametrize(
    "caller", [name for name in CALLERS if name not in ("no token", "expired")]
)
def test_a_whole_listing_shows_what_may_be_read(
    world: World, caller: str, bucket: str, listing: str
) -> None:
    readable = _readable(world, caller, bucket)
    if listing.endswith("folders"):
        readable = {name.partition("/")[0] for name in readable}
    assert LISTINGS[listing](world, caller, bucket) == readable


def test_a_listing_shows_something() -> None:
    """Else the test above would hold for a server that lists nothing."""
    assert [caller for caller in CALLERS if "r" in may(caller, "own folder")] == [
        "admin",
        "worker",
        "reader",
    ]


# What is nobody's but the service role's


@pytest.mark.parametrize("scope", ["own folder", "folder granted to write"])
@pytest.mark.parametrize("caller", ["admin", "worker"])
def test_an_upload_of_somebody_else_is_not_listed(world: World, caller: str, scope: str) -> None:
    here = world.places[caller, scope]
    question = Question(world, world.callers[caller], here, here)
    for name in ("S3 list uploads", "S3 list parts"):
        assert SHOWN[name](question) in ASKED[name](question).text
    world.give_upload(here, world.owner.id)
    try:
        for name in ("S3 list uploads", "S3 list parts"):
            assert SHOWN[name](question) not in ASKED[name](question).text
    finally:
        world.restore(caller, here)


REQUESTS_ABOUT_BUCKETS = [
    ("rest", "GET", "bucket", {}),
    ("rest", "GET", f"bucket/{FLEET}", {}),
    ("rest", "POST", "bucket", {"json": {"name": "matrix-mine"}}),
    ("rest", "PUT", f"bucket/{FLEET}", {"json": {"public": True}}),
    ("rest", "POST", f"bucket/{FLEET}/empty", {}),
    ("rest", "DELETE", f"bucket/{FLEET}", {}),
    ("s3", "GET", "", {}),
    ("s3", "HEAD", FLEET, {}),
    ("s3", "PUT", "matrix-mine", {}),
    ("s3", "DELETE", FLEET, {}),
]


@pytest.mark.parametrize("protocol, method, path, options", REQUESTS_ABOUT_BUCKETS)
@pytest.mark.parametrize("caller", CALLERS)
def test_buckets_are_the_operators(
    world: World, caller: str, protocol: str, method: str, path: str, options: dict[str, object]
) -> None:
    before = world.sql("SELECT b::text FROM storage.buckets b ORDER BY id")
    answer = getattr(world.callers[caller], protocol)(method, path, **options)
    assert FLEET not in answer.text.replace(f"<Resource>{FLEET}</Resource>", "")
    assert (path in ("", "bucket") and method == "GET") or not answer.is_success
    assert world.sql("SELECT b::text FROM storage.buckets b ORDER BY id") == before
    assert not world.has_changed()


# Names that lead elsewhere

ODD = ["{id}/../x", "{id}/./x", "{id}//x", "{id}/x/..", "../x", "./x", "/x", "{id}/x/"]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("caller", ["admin", "worker"])
def test_a_name_that_leads_elsewhere_is_refused(world: World, caller: str, odd: str) -> None:
    own = world.places[caller, "own folder"]
    name = odd.format(id=world.id_of(caller))
    asked = {"bucketId": own.bucket, "sourceKey": own.kept, "destinationKey": name}
    me = world.callers[caller]
    source = {"x-amz-copy-source": f"{own.bucket}/{own.kept.replace(' ', '%20')}"}
    answers = [
        me.rest("POST", "object/copy", json=asked),
        me.rest("POST", "object/move", json=asked),
        me.rest("POST", f"object/{own.bucket}/{name}", content=b"x"),
        me.rest("POST", f"object/upload/sign/{own.bucket}/{name}"),
        me.s3("PUT", f"{own.bucket}/{name}", headers=source),
        me.s3("PUT", f"{own.bucket}/{name}", content=b"x"),
        me.s3("POST", f"{own.bucket}/{name}?uploads="),
    ]
    assert {_said(answer)[2] for answer in answers} == {"AccessDenied"}
    assert not world.has_changed()
