"""What Storage says of a file, and the fleet of a transfer, as the client gives it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from argosy.account import subject_of
from argosy.description import object_metadata
from argosy.errors import InternalError, InvalidReference, InvalidToken
from argosy.info import FileInfo, Status
from argosy.storage.s3 import ObjectHead

SHA, MD5 = "a" * 64, "b" * 32
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def head(**changes: object) -> ObjectHead:
    said = {
        "name": "Bericht für März.txt",
        "owner": uuid4(),
        "transfer": uuid4(),
        "sha256": SHA,
        "md5": MD5,
        "expires_at": NOW,
        "metadata": {"sha256": "mine", "k": "v"},
    }
    return ObjectHead(7, "etag", "text/plain", object_metadata(**{**said, **changes}), NOW)  # type: ignore[arg-type]


def test_a_reference_of_what_the_object_says() -> None:
    info = FileInfo.of_head("bucket", "a/b/c.txt", head())
    reference = info.reference()
    assert (reference.name, reference.sha256, reference.md5) == ("Bericht für März.txt", SHA, MD5)
    assert reference.metadata == {"sha256": "mine", "k": "v"}  # the agent's own covers nothing
    assert (reference.expires_at, reference.size) == (NOW, 7)


def test_an_object_of_somebody_else() -> None:
    info = FileInfo.of_head("bucket", "a/b.txt", ObjectHead(7, "etag", "text/plain", {}, NOW))
    assert (info.name, info.sha256, info.metadata) == ("b.txt", None, {})
    with pytest.raises(InvalidReference, match="no checksum"):
        info.reference()


@pytest.mark.parametrize("rubbish", [{"owner": "x"}, {"transfer": ""}, {"sha256": "zz"}])
def test_rubbish_in_the_metadata(rubbish: dict[str, str]) -> None:
    whole = head()
    said = ObjectHead(7, "etag", "text/plain", {**whole.metadata, **rubbish}, NOW)
    with pytest.raises(InvalidReference):
        FileInfo.of_head("bucket", "a/b.txt", said).reference()


def test_a_file_as_json() -> None:
    document = FileInfo.of_head("bucket", "a/b/c.txt", head()).document()
    assert json.loads(json.dumps(document)) == document
    assert document["expires_at"] == NOW.isoformat()


def test_an_answer_that_is_no_status() -> None:
    with pytest.raises(InternalError):
        Status.parse({"id": "x"})


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "a.e30.c", "a.bnVsbA.c", "a.W10.c"])
def test_a_token_that_names_nobody(token: str) -> None:
    with pytest.raises(InvalidToken):
        subject_of(token)
