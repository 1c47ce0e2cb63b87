"""`upload_stream`: bytes of a length that nobody knows."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest

from argosy import Client, Error, UploadOptions
from argosy.errors import (
    AccessDenied,
    DeadlineExceeded,
    FleetUnavailable,
    InvalidRequest,
    SourceUnreadable,
    StorageUnavailable,
)
from argosy.options import Compress
from argosy.reference import FileReference
from tests.deployment import AgentInTest, Deployment

from .conftest import settings_of
from .gate import Gate, answer, gate_to
from .test_upload import Heard, check_stored
from .test_upload_faults import HTML, NOWHERE, always, once

MIB = 1024 * 1024
PART = 5 * MIB
OPTIONS = {"part_size": PART, "chunk_threshold": 0, "progress_seconds": 0, "storage_attempts": 3}


@pytest.fixture(scope="module")
def gate(deployment: Deployment) -> Iterator[Gate]:
    with gate_to(deployment.settings.supabase_url) as made:
        yield made


@pytest.fixture(scope="module")
def its_agent(deployment: Deployment) -> AgentInTest:
    return deployment.add_agent()


@pytest.fixture(scope="module")
def clients(
    deployment: Deployment,
    its_agent: AgentInTest,
    gate: Gate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Client, Client]]:
    """A client behind the gate, and one that cannot reach the fleet; both of one agent."""
    settings = settings_of(deployment, its_agent, tmp_path_factory.mktemp("stream"))
    settings = settings.model_copy(update={**OPTIONS, "supabase_url": gate.url})
    away = settings.model_copy(update={"broker_url": NOWHERE})
    key = {"agent": its_agent.name, "key": its_agent.key}
    with Client(settings, **key) as made, Client(away, **key) as cut_off:
        yield made, cut_off


@pytest.fixture
def client(clients: tuple[Client, Client], gate: Gate) -> Client:
    gate.fault = always(lambda _: False, b"")
    gate.passed.clear()
    return clients[0]


@pytest.fixture
def check_no_more(deployment: Deployment, its_agent: AgentInTest) -> Iterator[None]:
    """The call leaves nothing that was not there before."""
    before = deployment.objects(its_agent)
    yield
    assert deployment.objects(its_agent) == before
    assert deployment.unfinished_uploads(its_agent) == []


def in_blocks(content: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


class Dripping(io.RawIOBase):
    """A file object that gives less than it is asked for."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._inner = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(min(size, 70_001))


GIVEN: list[Callable[[bytes], Any]] = [
    lambda content: in_blocks(content, 100_003),
    lambda content: in_blocks(content, 3 * PART),
    lambda content: [b"", content[:7], b"", bytearray(content[7:]), memoryview(b"")],
    lambda content: (memoryview(content).cast("H") if len(content) % 2 == 0 else content,),
    memoryview,
    io.BytesIO,
    Dripping,
]


@pytest.mark.parametrize("given", GIVEN)
def test_whatever_gives_the_bytes(
    client: Client, gate: Gate, given: Callable[[bytes], Any]
) -> None:
    for size, parts in ((0, 1), (PART, 1), (PART + 1, 2), (3 * PART, 3)):
        content, heard = os.urandom(size), Heard()
        gate.passed.clear()
        reference = client.upload_stream(
            given(content), "flow.csv", {"kind": "x"}, options=UploadOptions(subscribers=(heard,))
        )
        check_stored(client, reference, content)
        heard.check_exact(reference)
        assert heard.queued[0][1:] == ("flow.csv", None)
        assert (reference.chunk_count, reference.content_type) == (parts, "text/csv")
        assert reference.metadata == {"kind": "x"}
        assert sum(gate.stored_parts.values()) == (parts if parts > 1 else 0)
        assert gate.body_bytes == size


def test_trouble_on_the_way_is_passed_over(client: Client, gate: Gate) -> None:
    content = os.urandom(4 * PART + 11)
    for trouble in (answer(502, HTML), answer(503, "", Retry_After="1"), 2 * MIB):
        heard = Heard()
        gate.fault = once(lambda passing: passing.part == 2, trouble)
        reference = client.upload_stream(
            in_blocks(content, MIB), "x", options=UploadOptions(subscribers=(heard,))
        )
        check_stored(client, reference, content)
        heard.check_exact(reference)


@pytest.mark.parametrize("after", [0, 100, PART, 3 * PART + 7])
def test_an_iterable_that_raises_half_way(client: Client, check_no_more: None, after: int) -> None:
    def broken() -> Iterator[bytes]:
        yield from in_blocks(bytes(after), MIB)
        raise KeyError("sensor")

    heard = Heard()
    with pytest.raises(SourceUnreadable, match=r"flow.*KeyError") as caught:
        client.upload_stream(broken(), "flow", options=UploadOptions(subscribers=(heard,)))
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.transfer_id == heard.queued[0][0]
    assert heard.errors == [caught.value]


NO_BYTES: list[Any] = [
    ["text"],
    [b"x" * (2 * PART), "text"],
    [b"x", None],
    [7],
    io.StringIO("text"),
    "text",
    7,
    None,
]


@pytest.mark.parametrize("given", NO_BYTES)
def test_what_is_no_bytes(client: Client, check_no_more: None, given: Any) -> None:
    with pytest.raises(InvalidRequest, match="flow"):
        client.upload_stream(given, "flow")


def test_a_pipe_with_nothing_to_give_yet(client: Client, check_no_more: None) -> None:
    out, into = os.pipe()
    os.set_blocking(out, False)
    with (
        os.fdopen(into, "wb"),
        os.fdopen(out, "rb", buffering=0) as reading,
        pytest.raises(SourceUnreadable, match="non-blocking"),
    ):
        client.upload_stream(reading, "pipe")


def its_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if "argosy" in thread.name}


def test_storage_that_stays_away(client: Client, gate: Gate, check_no_more: None) -> None:
    before = its_threads()
    gate.fault = always(lambda passing: passing.part == 3, answer(503, ""))
    with pytest.raises(StorageUnavailable) as caught:
        client.upload_stream(in_blocks(bytes(9 * PART), MIB), "x")
    assert caught.value.transfer_id
    assert its_threads() <= before


@pytest.mark.parametrize("compress", [None, "zstd"])
def test_no_thread_outlives_a_refusal(
    client: Client, gate: Gate, check_no_more: None, compress: Compress | None
) -> None:
    before = its_threads()
    gate.fault = always(lambda passing: passing.part == 3, answer(403, ""))
    with pytest.raises(AccessDenied):
        client.upload_stream(
            repeat(os.urandom(MIB)), "endless", options=UploadOptions(compress=compress)
        )
    assert its_threads() <= before


def test_a_stream_that_is_too_slow_for_the_call(client: Client, check_no_more: None) -> None:
    def slow() -> Iterator[bytes]:
        yield bytes(2 * PART)
        while True:
            threading.Event().wait(0.05)
            yield b"."

    with pytest.raises(DeadlineExceeded):
        client.upload_stream(slow(), "x", options=UploadOptions(deadline_seconds=1))


def test_an_interrupted_call_leaves_nothing(client: Client, check_no_more: None) -> None:
    def interrupted() -> Iterator[bytes]:
        yield bytes(2 * PART)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.upload_stream(interrupted(), "x")


def test_a_fleet_that_is_away(clients: tuple[Client, Client]) -> None:
    """The file is stored, and the error says where: the fleet may have the request yet."""
    client, cut_off = clients
    with pytest.raises(FleetUnavailable) as caught:
        cut_off.upload_stream([b"cargo"], "x.bin")
    error: Error = caught.value
    assert (error.transfer_id or "-") in error.message
    path = f"{client.agent_id}/{error.transfer_id}/x.bin"
    assert path in error.message
    assert client._account.store().head(client.settings.bucket, path).size == 5
    client._account.store().delete(client.settings.bucket, path)


def test_what_the_fleet_refuses_is_removed(client: Client, check_no_more: None) -> None:
    with pytest.raises(InvalidRequest):
        client.upload_stream([b"x"], "x", options=UploadOptions(share_with=("nobody-here",)))


def test_the_reference_is_the_fleets(client: Client, deployment: Deployment) -> None:
    reference = client.upload_stream([b"x" * (PART + 1)], "x")
    row = deployment.transfer(str(reference.id))
    assert FileReference.parse(row.reference or {}) == reference
