"""Compressed files in a real Storage: read whole and in ranges, by several, and replaced."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

import pytest

from argosy.account import Account
from argosy.coding.frames import FRAME_BYTES
from argosy.derived import Encoding, Stored
from argosy.errors import (
    ChecksumMismatch,
    ExpansionTooLarge,
    ObjectChanged,
    ObjectNotFound,
    StorageRefused,
)
from argosy.reference import FileReference
from argosy.storage.body import BytesBody
from argosy.storage.content import Content
from argosy.storage.s3 import ObjectHead, ObjectStore
from tests.deployment import AgentInTest, Deployment
from tests.integration.own_uploads import OwnUploader
from tests.unit.coding.made import ENCODINGS, noise, stored_for

MIB = 1024 * 1024
SIZE = 20 * MIB + 4321
CARGO = base64.b64encode(noise(16 * MIB))[:SIZE]
either = pytest.mark.parametrize("encoding", ENCODINGS)


class Watched(ObjectStore):
    """A store that remembers what it was asked for."""

    def __init__(self, store: ObjectStore) -> None:
        self.__dict__.update(vars(store))
        self.asked: list[tuple[int, int | None]] = []
        self.heads = 0
        self._lock = Lock()

    def head(self, bucket: str, key: str) -> ObjectHead:
        self.heads += 1
        return super().head(bucket, key)

    def get(
        self,
        bucket: str,
        key: str,
        *,
        start: int = 0,
        length: int | None = None,
        etag: str | None = None,
    ) -> Iterator[bytes]:
        with self._lock:
            self.asked.append((start, length))
        return super().get(bucket, key, start=start, length=length, etag=etag)


@dataclass(frozen=True)
class Shelf:
    """One agent's place in Storage."""

    uploader: OwnUploader
    store: Watched

    def put(self, data: bytes, encoding: Encoding | None, **said: Any) -> FileReference:
        """A file, stored so, and its reference."""
        lies = stored_for(data, encoding) if encoding else data
        if encoding:
            stored = Stored(size=len(lies), sha256=hashlib.sha256(lies).hexdigest())
            said = {"encoding": encoding, "stored": stored, **said}
        reference = FileReference.parse(self.uploader.describe(data, name="cargo.log", **said))
        self.replace(reference, lies)
        return reference

    def replace(self, reference: FileReference, lies: bytes) -> None:
        """Other bytes where the file lies."""
        self.store.put(
            reference.bucket,
            reference.path,
            BytesBody(lies),
            content_type="application/octet-stream",
            metadata={},
        )


@pytest.fixture
def shelf(deployment: Deployment, shared_agent: AgentInTest) -> Shelf:
    uploader = OwnUploader(shared_agent)
    return Shelf(uploader, Watched(uploader.store))


@pytest.fixture(scope="module", params=ENCODINGS)
def large(
    request: pytest.FixtureRequest, deployment: Deployment, shared_agent: AgentInTest
) -> FileReference:
    """A file of 20 MiB that is stored compressed."""
    uploader = OwnUploader(shared_agent)
    return Shelf(uploader, Watched(uploader.store)).put(CARGO, request.param)


def read(content: Content, start: int = 0, length: int | None = None) -> bytes:
    return b"".join(content.get(start, length))


def test_whole(shelf: Shelf, large: FileReference) -> None:
    assert read(Content(shelf.store, large)) == CARGO
    assert large.stored_size < 0.9 * large.size


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, 1),
        (0, FRAME_BYTES),
        (FRAME_BYTES - 3, 7),
        (9 * MIB + 1, 6 * MIB),
        (SIZE - 5000, None),
        (SIZE, 0),
        (SIZE, None),
        (7, 0),
    ],
)
def test_ranges(shelf: Shelf, large: FileReference, start: int, length: int | None) -> None:
    end = SIZE if length is None else start + length
    assert read(Content(shelf.store, large), start, length) == CARGO[start:end]


def test_a_range_costs_its_frames(shelf: Shelf, large: FileReference) -> None:
    content = Content(shelf.store, large)
    assert read(content, 9 * MIB, 10) == CARGO[9 * MIB : 9 * MIB + 10]
    assert read(content, 17 * MIB, 10) == CARGO[17 * MIB : 17 * MIB + 10]
    table, first, second = shelf.store.asked
    assert sum(number or 0 for number in table) == large.stored_size
    assert (table[1] or 0) < 1000
    for _, length in (first, second):
        assert 0 < (length or 0) < FRAME_BYTES
    assert shelf.store.heads == 1


def test_who_knows_the_version_asks_for_no_head(shelf: Shelf, large: FileReference) -> None:
    etag = shelf.store.head(large.bucket, large.path).etag
    shelf.store.heads = 0
    assert read(Content(shelf.store, large, etag=f'"{etag}"'), 100, 10) == CARGO[100:110]
    assert shelf.store.heads == 0


def test_threads_share_the_table(shelf: Shelf, large: FileReference) -> None:
    content = Content(shelf.store, large)
    starts = range(0, SIZE, 3 * MIB)
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda start: read(content, start, min(3 * MIB, SIZE - start)), starts)
        )
    assert b"".join(found) == CARGO
    assert len(shelf.store.asked) == 1 + len(starts)


def test_stores_share_the_table(shelf: Shelf, large: FileReference) -> None:
    content = Content(shelf.store, large)
    assert read(content, 0, 1) == CARGO[:1]
    other = Watched(shelf.uploader.store)
    assert read(content.using(other), 5, 5) == CARGO[5:10]
    assert (len(other.asked), other.heads) == (1, 0)


@pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, SIZE + 1), (SIZE + 1, None), (5, -1)])
def test_no_such_range(shelf: Shelf, large: FileReference, start: int, length: int | None) -> None:
    with pytest.raises(StorageRefused, match=r"cargo\.log has 20975841 bytes"):
        read(Content(shelf.store, large), start, length)


def test_head(shelf: Shelf, large: FileReference) -> None:
    assert Content(shelf.store, large).head().size == large.stored_size


@pytest.mark.parametrize("encoding", [None, *ENCODINGS])
@pytest.mark.parametrize("data", [b"", b"x", b"cargo " * 1000], ids=["empty", "one", "more"])
def test_small_files(shelf: Shelf, encoding: Encoding | None, data: bytes) -> None:
    content = Content(shelf.store, shelf.put(data, encoding))
    assert read(content) == data
    assert content.head().size == content.reference.stored_size


def test_plain_files_are_read_as_they_are(shelf: Shelf) -> None:
    content = Content(shelf.store, shelf.put(b"cargo", None))
    assert read(content, 1, 3) == b"arg"
    assert (shelf.store.asked, shelf.store.heads) == ([(1, 3)], 0)


@either
def test_replaced_between_two_ranges(shelf: Shelf, encoding: Encoding) -> None:
    reference = shelf.put(b"cargo " * 1000, encoding)
    content = Content(shelf.store, reference)
    assert read(content, 0, 5) == b"cargo"
    shelf.replace(reference, stored_for(b"other " * 1000, encoding))
    with pytest.raises(ObjectChanged):
        read(content, 6, 5)
    with pytest.raises(ObjectChanged, match=r"cargo\.log was replaced"):
        content.head()


def test_plain_and_replaced(shelf: Shelf) -> None:
    reference = shelf.put(b"cargo", None)
    content = Content(shelf.store, reference)
    content.head()
    shelf.replace(reference, b"other")
    with pytest.raises(ObjectChanged):
        read(content)


@either
def test_replaced_before_the_table_was_read(shelf: Shelf, encoding: Encoding) -> None:
    reference = shelf.put(b"cargo " * 1000, encoding)
    content = Content(shelf.store, reference, etag="0" * 32)
    with pytest.raises(ObjectChanged):
        read(content)


@pytest.mark.parametrize("encoding", [None, *ENCODINGS])
def test_of_another_size(shelf: Shelf, encoding: Encoding | None) -> None:
    reference = shelf.put(b"cargo " * 1000, encoding)
    shelf.replace(reference, b"much less")
    with pytest.raises(ChecksumMismatch, match=r"cargo\.log has 9 bytes in Storage"):
        Content(shelf.store, reference).head()


@either
def test_what_lies_there_is_no_such_thing(shelf: Shelf, encoding: Encoding) -> None:
    reference = shelf.put(b"cargo " * 1000, encoding)
    shelf.replace(reference, noise(reference.stored_size))
    with pytest.raises(ChecksumMismatch, match=r"cargo\.log is damaged in Storage"):
        read(Content(shelf.store, reference))


@either
def test_too_large_for_what_is_stored(shelf: Shelf, encoding: Encoding) -> None:
    """Refused before a byte is asked for."""
    reference = shelf.put(b"cargo", encoding)
    for size in (64 * MIB + 1, 1024**4):
        content = Content(shelf.store, reference.model_copy(update={"size": size}))
        with pytest.raises(ExpansionTooLarge, match=rf"cargo\.log .* said to hold {size},"):
            content.get(0, 1)
    assert (shelf.store.asked, shelf.store.heads) == ([], 0)


@either
def test_how_much_is_a_setting(shelf: Shelf, encoding: Encoding) -> None:
    zeros = bytes(65 * MIB)
    reference = shelf.put(zeros, encoding)
    ratio = -(-reference.size // reference.stored_size)
    assert read(Content(shelf.store, reference, expansion=ratio), 64 * MIB, 5) == bytes(5)
    with pytest.raises(ExpansionTooLarge):
        Content(shelf.store, reference, expansion=ratio - 1).get()


def test_another_agent_reads_nothing(
    shelf: Shelf, deployment: Deployment, large: FileReference
) -> None:
    stranger = deployment.add_agent()
    token = stranger.token()
    store = Account(stranger.settings, lambda: token).store()
    with pytest.raises(ObjectNotFound):
        read(Content(store, large), 0, 1)
