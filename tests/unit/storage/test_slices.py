"""One body of which Storage makes parts of its own, on its way to an S3."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import pytest

from argosy import errors
from argosy.storage.body import BytesBody
from argosy.storage.checksum import composite_etag
from argosy.storage.s3 import ObjectStore
from argosy.storage.slices import SLICE_BYTES

from .scripted import ScriptedServer, stored

MIB = 1 << 20
DESCRIBED: dict[str, Any] = {"content_type": "text/plain", "metadata": {}}
CONTENT = os.urandom(MIB) * 17
MD5 = hashlib.md5(CONTENT).hexdigest()


class CountedBody(BytesBody):
    """Notes each pass; its blocks lie in one buffer, each in place of the one before it."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.passes = 0

    def blocks(self) -> Iterator[memoryview]:
        self.passes += 1
        buffer = bytearray(MIB)
        for block in super().blocks():
            buffer[: len(block)] = block
            with memoryview(buffer)[: len(block)] as view:
                yield view


def in_slices(content: bytes, size: int = SLICE_BYTES) -> str:
    slices = [content[start : start + size] for start in range(0, len(content), size)]
    return composite_etag([hashlib.md5(each).hexdigest() for each in slices])


def known_to_cut(server: ScriptedServer, store: ObjectStore, size: int = SLICE_BYTES) -> None:
    """The first large body tells it."""
    server.script(stored(in_slices(CONTENT, size)))
    body = CountedBody(CONTENT)
    store.put("b", "first", body, md5=MD5, **DESCRIBED)
    assert body.passes == 2


def test_a_body_that_storage_cuts_is_checked_all_the_same(
    server: ScriptedServer, store: ObjectStore, pauses: list[float]
) -> None:
    wrong = in_slices(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    server.script(stored(wrong), stored(in_slices(CONTENT)))
    etag = store.put("b", "k", BytesBody(CONTENT), md5=MD5, **DESCRIBED)
    assert etag == in_slices(CONTENT)
    assert len(server.requests) == 2


@pytest.mark.parametrize("md5", [MD5, None])
def test_the_next_one_is_read_once(
    server: ScriptedServer, store: ObjectStore, md5: str | None
) -> None:
    known_to_cut(server, store)
    server.script(stored(in_slices(CONTENT)))
    body = CountedBody(CONTENT)
    assert store.put("b", "k", body, md5=md5, **DESCRIBED) == in_slices(CONTENT)
    assert body.passes == 1


def test_what_is_wrong_in_the_next_one_is_found(
    server: ScriptedServer, store: ObjectStore, pauses: list[float]
) -> None:
    known_to_cut(server, store)
    wrong = in_slices(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    server.script(stored(wrong), stored(in_slices(CONTENT)))
    store.put("b", "k", BytesBody(CONTENT), md5=MD5, **DESCRIBED)
    assert len(server.requests) == 2
    assert len(pauses) == 1


def test_storage_may_cut_another_way_tomorrow(server: ScriptedServer, store: ObjectStore) -> None:
    known_to_cut(server, store, 5 * MIB)
    for passes in (2, 1):
        server.script(stored(in_slices(CONTENT)))
        body = CountedBody(CONTENT)
        store.put("b", "k", body, md5=MD5, **DESCRIBED)
        assert body.passes == passes


def test_storage_may_cut_no_more(server: ScriptedServer, store: ObjectStore) -> None:
    known_to_cut(server, store)
    server.script(stored(MD5))
    assert store.put("b", "k", BytesBody(CONTENT), md5=MD5, **DESCRIBED) == MD5


@pytest.mark.parametrize("is_known", [True, False])
def test_bytes_that_changed_before_they_were_sent(
    server: ScriptedServer, store: ObjectStore, pauses: list[float], *, is_known: bool
) -> None:
    """Stored as they were sent, but not those whose checksums were announced."""
    if is_known:
        known_to_cut(server, store)
    server.script(*[stored(in_slices(CONTENT))] * 6)
    with pytest.raises(errors.TransitCorruption):
        store.put("b", "k", BytesBody(CONTENT), md5="0" * 32, **DESCRIBED)


def test_a_body_cut_in_another_way_is_taken_as_it_is(
    server: ScriptedServer, store: ObjectStore
) -> None:
    etag = f"{'0' * 32}-9"
    server.script(stored(etag))
    assert store.put("b", "k", BytesBody(b"x" * 100), **DESCRIBED) == etag
