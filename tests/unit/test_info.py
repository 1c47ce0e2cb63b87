"""What Storage says of a file, and the fleet of a transfer, as the client gives it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from argosy.account import subject_of
from argosy.derived import Stored
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


STORED = Stored(size=7, sha256="c" * 64, md5="d" * 32)


def test_a_reference_of_an_object_that_is_compressed() -> None:
    info = FileInfo.of_head("bucket", "a/b/c.txt", head(encoding="zstd", size=900, stored=STORED))
    assert (info.size, info.stored_size, info.encoding) == (900, 7, "zstd")
    reference = info.reference()
    assert (reference.size, reference.sha256, reference.md5) == (900, SHA, MD5)
    assert (reference.encoding, reference.stored, reference.chunk_size) == ("zstd", STORED, 7)


def test_an_empty_file_that_is_compressed() -> None:
    reference = FileInfo.of_head(
        "bucket", "a/b/c.txt", head(encoding="gzip", size=0, stored=STORED)
    ).reference()
    assert (reference.size, reference.stored_size) == (0, 7)


def test_what_is_not_compressed_says_nothing_of_it() -> None:
    said = head(size=7).metadata
    assert not said.keys() & {"encoding", "size", "stored-sha256", "stored-md5"}
    info = FileInfo.of_head("bucket", "a/b/c.txt", head())
    assert (info.size, info.stored_size, info.encoding) == (7, 7, None)
    assert info.reference().stored is None


def test_what_is_compressed_and_not_yet_described() -> None:
    """Of an upload in parts the object says at first only how it is encoded."""
    new = head(encoding="zstd", sha256=None, md5=None)
    info = FileInfo.of_head("bucket", "a/b/c.txt", new)
    assert (info.size, info.stored_size, info.encoding) == (None, 7, "zstd")
    with pytest.raises(InvalidReference, match="just ended"):
        info.reference()


WRONG = [
    {"encoding": "br"},
    {"size": "-1"},
    {"size": "٣"},
    {"size": "9" * 400},
    {"stored-sha256": ""},
    {"stored-sha256": "zz"},
    {"stored-md5": "zz"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_rubbish_in_what_it_says_of_its_encoding(wrong: dict[str, str]) -> None:
    whole = head(encoding="zstd", size=900, stored=STORED)
    said = ObjectHead(7, "etag", "text/plain", {**whole.metadata, **wrong}, NOW)
    with pytest.raises(InvalidReference):
        FileInfo.of_head("bucket", "a/b.txt", said).reference()


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
