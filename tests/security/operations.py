"""How each operation of the matrix is asked, what only its success shows, and what it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from tests.security.world import NEW, PART, PART_ETAG, Caller, Place, World


@dataclass(frozen=True)
class Question:
    """One caller, one place, and the caller's own place."""

    world: World
    caller: Caller
    here: Place
    own: Place


Ask = Callable[[Question], httpx.Response]
Where = Callable[[Question], Place]
XML = {"content-type": "application/xml"}
ASKED: dict[str, Ask] = {}
"""The request of each operation."""


def asks(name: str) -> Callable[[Ask], Ask]:
    """Note how an operation is asked."""

    def note(ask: Ask) -> Ask:
        ASKED[name] = ask
        return ask

    return note


# REST


def _object(method: str, route: str, name: str = "kept", **options: Any) -> Ask:
    """A request about `kept` or `new`."""

    def ask(q: Question) -> httpx.Response:
        path = f"{route}/{q.here.bucket}/{getattr(q.here, name)}"
        return q.caller.rest(method, path, **options)

    return ask


ASKED |= {
    "REST read": _object("GET", "object/authenticated"),
    "REST head": _object("HEAD", "object/authenticated"),
    "REST open read": _object("GET", "object"),
    "REST open head": _object("HEAD", "object"),
    "REST open info": _object("GET", "object/info"),
    "REST insert": _object("POST", "object", "new", content=NEW),
    "REST upsert": _object("POST", "object", content=NEW, headers={"x-upsert": "true"}),
    "REST update": _object("PUT", "object", content=NEW),
    "REST delete": _object("DELETE", "object"),
}


@asks("REST sign")
def _(q: Question) -> httpx.Response:
    signed = q.caller.rest(
        "POST", f"object/sign/{q.here.bucket}/{q.here.kept}", json={"expiresIn": 60}
    )
    return _follow(q, signed, lambda: signed.json()["signedURL"])


@asks("REST sign many")
def _(q: Question) -> httpx.Response:
    asked = {"expiresIn": 60, "paths": [q.here.kept]}
    signed = q.caller.rest("POST", f"object/sign/{q.here.bucket}", json=asked)
    if signed.is_success and not signed.json()[0]["signedURL"]:
        return signed
    return _follow(q, signed, lambda: signed.json()[0]["signedURL"])


def _follow(q: Question, signed: httpx.Response, url: Callable[[], str]) -> httpx.Response:
    """What the bearer of a signed URL gets, who has nothing else; or the refusal to sign."""
    if not signed.is_success:
        return signed
    return q.world.callers["no token"].rest("GET", url().removeprefix("/"))


@asks("REST sign upload")
def _(q: Question) -> httpx.Response:
    signed = q.caller.rest("POST", f"object/upload/sign/{q.here.bucket}/{q.here.new}")
    if not signed.is_success:
        return signed
    bearer = q.world.callers["no token"]
    return bearer.rest("PUT", signed.json()["url"].removeprefix("/"), content=NEW)


@asks("REST list")
def _(q: Question) -> httpx.Response:
    return q.caller.rest("POST", f"object/list-v2/{q.here.bucket}", json={"prefix": q.here.folder})


@asks("REST list of a folder")
def _(q: Question) -> httpx.Response:
    return q.caller.rest("POST", f"object/list/{q.here.bucket}", json={"prefix": q.here.folder})


@asks("REST delete many")
def _(q: Question) -> httpx.Response:
    return q.caller.rest("DELETE", f"object/{q.here.bucket}", json={"prefixes": [q.here.kept]})


def _carried(source: Place, target: Place) -> dict[str, str]:
    return {
        "bucketId": source.bucket,
        "sourceKey": source.kept,
        "destinationBucket": target.bucket,
        "destinationKey": target.new,
    }


def _carry(verb: str, source: Where, target: Where) -> Ask:
    """A move or a copy of `kept` from one place to `new` of another."""

    def ask(q: Question) -> httpx.Response:
        return q.caller.rest("POST", f"object/{verb}", json=_carried(source(q), target(q)))

    return ask


def _here(q: Question) -> Place:
    return q.here


def _own(q: Question) -> Place:
    return q.own


ASKED |= {
    "REST move": _carry("move", _here, _here),
    "REST move out": _carry("move", _here, _own),
    "REST move in": _carry("move", _own, _here),
    "REST copy out": _carry("copy", _here, _own),
    "REST copy in": _carry("copy", _own, _here),
}


# S3


def _s3(method: str, name: str = "kept", query: str = "", **options: Any) -> Ask:
    """A request about `kept` or `new`; `{upload}` in the query is the unfinished upload of it."""

    def ask(q: Question) -> httpx.Response:
        upload = q.world.uploads[q.here]
        path = f"{q.here.bucket}/{getattr(q.here, name)}{query.format(upload=upload)}"
        return q.caller.s3(method, path, **options)

    return ask


ASKED |= {
    "S3 read": _s3("GET"),
    "S3 read a range": _s3("GET", headers={"range": "bytes=4-9"}),
    "S3 head": _s3("HEAD"),
    "S3 tags": _s3("GET", query="?tagging="),
    "S3 put new": _s3("PUT", "new", content=NEW),
    "S3 put": _s3("PUT", content=NEW),
    "S3 delete": _s3("DELETE"),
    "S3 create": _s3("POST", "new", "?uploads="),
    "S3 part": _s3("PUT", "new", "?partNumber=2&uploadId={upload}", content=PART),
    "S3 abort": _s3("DELETE", "new", "?uploadId={upload}"),
    "S3 list parts": _s3("GET", "new", "?uploadId={upload}"),
}


def _s3_list(query: str) -> Ask:
    def ask(q: Question) -> httpx.Response:
        return q.caller.s3("GET", f"{q.here.bucket}?{query}&prefix={quote(q.here.folder, safe='')}")

    return ask


ASKED |= {
    "S3 list": _s3_list("list-type=2"),
    "S3 list, version 1": _s3_list("max-keys=10"),
    "S3 list uploads": _s3_list("uploads="),
}


def _s3_copy(source: Where, target: Where) -> Ask:
    def ask(q: Question) -> httpx.Response:
        to = target(q)
        return q.caller.s3("PUT", f"{to.bucket}/{to.new}", headers=_copied(source(q)))

    return ask


def _copied(source: Place) -> dict[str, str]:
    return {"x-amz-copy-source": quote(f"{source.bucket}/{source.kept}")}


ASKED |= {"S3 copy out": _s3_copy(_here, _own), "S3 copy in": _s3_copy(_own, _here)}


@asks("S3 part of an object")
def _(q: Question) -> httpx.Response:
    query = f"?partNumber=2&uploadId={q.world.uploads[q.own]}"
    path = f"{q.own.bucket}/{q.own.new}{query}"
    return q.caller.s3("PUT", path, headers=_copied(q.here))


@asks("S3 complete")
def _(q: Question) -> httpx.Response:
    part = f"<Part><PartNumber>1</PartNumber><ETag>{PART_ETAG}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{part}</CompleteMultipartUpload>"
    path = f"{q.here.bucket}/{q.here.new}?uploadId={q.world.uploads[q.here]}"
    return q.caller.s3("POST", path, content=body.encode(), headers=XML)


@asks("S3 delete many")
def _(q: Question) -> httpx.Response:
    body = f"<Delete><Object><Key>{q.here.kept}</Key></Object></Delete>"
    return q.caller.s3("POST", f"{q.here.bucket}?delete=", content=body.encode(), headers=XML)


# What only success shows


def _etag(q: Question) -> str:
    return q.here.etag


def _content(q: Question) -> str:
    return q.here.content.decode()


SHOWN: dict[str, Callable[[Question], str]] = {
    "REST read": _content,
    "REST head": _etag,
    "REST open read": _content,
    "REST open head": _etag,
    "REST open info": _etag,
    "REST sign": _content,
    "REST sign many": _content,
    "REST list": lambda q: q.here.kept,
    "REST list of a folder": lambda q: "kept.bin",
    "REST delete many": lambda q: "kept.bin",
    "S3 read": _content,
    "S3 read a range": lambda q: _content(q)[4:10],
    "S3 head": _etag,
    "S3 tags": lambda q: "TagSet",
    "S3 list": lambda q: q.here.kept,
    "S3 list, version 1": lambda q: q.here.kept,
    "S3 list uploads": lambda q: q.world.uploads[q.here],
    "S3 list parts": lambda q: PART_ETAG,
    "S3 delete many": lambda q: "<Deleted>",
}


# What it changes


Effect = Callable[[Question], Mapping[tuple[Place, str], bytes | None]]


def _new(content: bytes) -> Effect:
    return lambda q: {(q.here, "new"): content}


EFFECTS: dict[str, Effect] = {
    "REST insert": _new(NEW),
    "REST upsert": lambda q: {(q.here, "kept"): NEW},
    "REST update": lambda q: {(q.here, "kept"): NEW},
    "REST sign upload": _new(NEW),
    "REST delete": lambda q: {(q.here, "kept"): None},
    "REST delete many": lambda q: {(q.here, "kept"): None},
    "REST move": lambda q: {(q.here, "kept"): None, (q.here, "new"): q.here.content},
    "REST move out": lambda q: {(q.here, "kept"): None, (q.own, "new"): q.here.content},
    "REST move in": lambda q: {(q.own, "kept"): None, (q.here, "new"): q.own.content},
    "REST copy out": lambda q: {(q.own, "new"): q.here.content},
    "REST copy in": lambda q: {(q.here, "new"): q.own.content},
    "S3 put new": _new(NEW),
    "S3 put": lambda q: {(q.here, "kept"): NEW},
    "S3 delete": lambda q: {(q.here, "kept"): None},
    "S3 delete many": lambda q: {(q.here, "kept"): None},
    "S3 copy out": lambda q: {(q.own, "new"): q.here.content},
    "S3 copy in": lambda q: {(q.here, "new"): q.own.content},
    "S3 complete": _new(PART),
}
"""Objects that are different afterwards; None is gone."""

UPLOADS = {"S3 create": (1, 0), "S3 complete": (-1, -1), "S3 abort": (-1, -1)}
"""Unfinished uploads and their parts, more or less than before."""
UPLOADS |= dict.fromkeys(("S3 part", "S3 part of an object"), (0, 1))
