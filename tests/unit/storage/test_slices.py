"""One body of which Storage makes parts of its own, on its way to an S3."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import httpx
import pytest

from argosy import errors
from argosy.storage.body import BytesBody
from argosy.storage.checksum import composite_etag
from argosy.storage.retry import RetryPolicy
from argosy.storage.s3 import Endpoint, ObjectStore
from argosy.storage.slices import SLICE_BYTES, SentDigest
from argosy.storage.wire import Sending

from .scripted import ScriptedServer, stored

MIB = 1 << 20
DESCRIBED: dict[str, Any] = {"content_type": "text/plain", "metadata": {}}
CONTENT = random.Random(17).randbytes(MIB) * 17
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


def passes_of(server: ScriptedServer, store: ObjectStore, etag: str, md5: str | None = MD5) -> int:
    """How often a body is read whose PUT is answered so."""
    server.script(stored(etag))
    body = CountedBody(CONTENT)
    assert store.put("b", "k", body, md5=md5, **DESCRIBED) == etag
    return body.passes


def test_a_body_that_storage_cuts_is_checked_all_the_same(
    server: ScriptedServer, store: ObjectStore, pauses: list[float]
) -> None:
    wrong = in_slices(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    server.script(stored(wrong), stored(in_slices(CONTENT)))
    etag = store.put("b", "k", BytesBody(CONTENT), md5=MD5, **DESCRIBED)
    assert etag == in_slices(CONTENT)
    assert len(server.requests) == 2


@pytest.mark.parametrize("md5", [MD5, None])
def test_it_is_read_once(server: ScriptedServer, store: ObjectStore, md5: str | None) -> None:
    assert passes_of(server, store, in_slices(CONTENT), md5) == 1


def test_storage_may_cut_another_way(server: ScriptedServer, store: ObjectStore) -> None:
    """Once it is seen, that is what is expected."""
    for size in (5 * MIB, SLICE_BYTES):
        etag = in_slices(CONTENT, size)
        assert [passes_of(server, store, etag) for _ in range(3)] == [2, 1, 1]


@pytest.mark.parametrize("mib", [7, 12, 13])
def test_storage_may_cut_in_a_way_that_nobody_knows(
    server: ScriptedServer, store: ObjectStore, mib: int
) -> None:
    """Also where as many slices of a usual size would make up the body."""
    etag = in_slices(CONTENT, mib * MIB)
    assert [passes_of(server, store, etag) for _ in range(3)] == [3, 1, 1]


@pytest.mark.parametrize("etag", [MD5, "19a1b2c3d4e.5-300"])
def test_storage_may_begin_and_cease_to_cut(
    server: ScriptedServer, store: ObjectStore, etag: str
) -> None:
    """Where it does not, nothing is hashed for it."""
    assert passes_of(server, store, etag) == 1
    with mock.patch("argosy.storage.s3.SentDigest.update") as hashing:
        assert passes_of(server, store, etag) == 1
    hashing.assert_not_called()
    assert passes_of(server, store, in_slices(CONTENT)) == 2
    assert passes_of(server, store, in_slices(CONTENT)) == 1


@pytest.mark.parametrize("is_cut", [True, False])
def test_bytes_that_changed_before_they_were_sent(
    server: ScriptedServer, store: ObjectStore, pauses: list[float], *, is_cut: bool
) -> None:
    """Stored as they were sent, but not those whose checksums were announced."""
    server.script(*[stored(in_slices(CONTENT) if is_cut else MD5)] * 6)
    with pytest.raises(errors.TransitCorruption):
        store.put("b", "k", BytesBody(CONTENT), md5="0" * 32, **DESCRIBED)


def test_a_body_cut_in_another_way_is_taken_as_it_is(
    server: ScriptedServer, store: ObjectStore
) -> None:
    etag = f"{'0' * 32}-9"
    server.script(stored(etag))
    assert store.put("b", "k", BytesBody(b"x" * 100), **DESCRIBED) == etag


def test_so_is_one_cut_into_as_many_as_no_usual_size_makes(
    server: ScriptedServer, store: ObjectStore
) -> None:
    content = bytes(60 * MIB)
    etag = in_slices(content, 25 * MIB // 2)
    server.script(stored(etag))
    md5 = hashlib.md5(content).hexdigest()
    assert store.put("b", "k", BytesBody(content), md5=md5, **DESCRIBED) == etag


# What the thread that hashes beside the sending has to bear


class Hasty(httpx.BaseTransport):
    """Takes the first block and answers as if it were all; the next time, it takes all."""

    def __init__(self) -> None:
        self.requests = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        blocks = iter(request.stream)  # type: ignore[arg-type]  # that of a client that waits
        taken = next(blocks) if self.requests == 1 else b"".join(bytes(one) for one in blocks)
        etag = hashlib.md5(taken).hexdigest()
        return httpx.Response(200, headers={"ETag": etag}, stream=httpx.ByteStream(b""))


def test_an_answer_before_the_last_byte_is_not_taken(
    endpoint: Endpoint, retries: RetryPolicy, pauses: list[float]
) -> None:
    transport = Hasty()
    with httpx.Client(transport=transport) as http:
        store = ObjectStore(endpoint, lambda: "token", http=http, retries=retries)
        assert store.put("b", "k", BytesBody(CONTENT), **DESCRIBED) == MD5
    assert transport.requests == 2


def test_bytes_that_are_written_to_while_they_are_hashed() -> None:
    """Whoever alters what it has given to be sent does not have it taken for what it was."""
    memory = bytearray(CONTENT)
    sent = SentDigest(SLICE_BYTES)

    class Altering:
        """The whole's MD5 has its bytes; then they change, on their way to the socket."""

        def __init__(self, digest: Any) -> None:
            self._digest = digest

        def update(self, block: Any) -> None:
            self._digest.update(block)
            memory[0] ^= 1

        def hexdigest(self) -> str:
            return str(self._digest.hexdigest())

    with mock.patch.object(sent, "_whole", Altering(hashlib.md5())):
        sent.update(memoryview(memory))
        assert sent.md5 == MD5
        assert composite_etag(list(sent.slice_md5s)) != in_slices(bytes(memory))


def test_a_put_ends_after_its_interpreter_has_begun_to() -> None:
    """No new thread is to be had then."""
    helper = ThreadPoolExecutor(1)
    helper.shutdown()
    hashed = hashlib.md5()
    with mock.patch("argosy.storage.wire.ThreadPoolExecutor", return_value=helper):
        sending = Sending(CountedBody(CONTENT), hashed.update, beside=True)
        assert b"".join(bytes(block) for block in sending) == CONTENT
    assert hashed.hexdigest() == MD5
    assert sending.is_whole
