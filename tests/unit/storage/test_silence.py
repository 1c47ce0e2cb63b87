"""A server that is silent: whoever is called off, or out of time, does not wait for it."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from argosy.deadline import Deadline
from argosy.direct.crew import Job
from argosy.errors import DeadlineExceeded, StorageUnavailable, TransferCancelled
from argosy.storage import pool, sockets, wire
from argosy.storage.body import BytesBody
from argosy.storage.control import ControlPlane
from argosy.storage.retry import RetryPolicy
from argosy.storage.s3 import Endpoint, ObjectStore, StoredPart

from .conftest import TOKEN
from .scripted import Request, ScriptedServer, answer, stored

ENOUGH = 30
"""Seconds: less than any of the limits for silence, and much more than it takes."""
LARGE = BytesBody(os.urandom(48 * 1024 * 1024))
"""More than the sockets of both sides hold."""
SMALL = BytesBody(b"x")
DESCRIBED = {"content_type": "text/plain", "metadata": {}}

CALLS: dict[str, Callable[[ObjectStore], object]] = {
    "put": lambda store: store.put("b", "k", SMALL, **DESCRIBED),  # type: ignore[arg-type]
    "part": lambda store: store.upload_part("b", "k", "up", 1, SMALL),
    "begin": lambda store: store.create_multipart("b", "k", **DESCRIBED),  # type: ignore[arg-type]
    "complete": lambda store: store.complete_multipart("b", "k", "up", [StoredPart(1, "e")]),
    "head": lambda store: store.head("b", "k"),
    "delete": lambda store: store.delete("b", "k"),
}


@pytest.fixture
def limited(endpoint: Endpoint) -> Iterator[Callable[[Deadline], ObjectStore]]:
    """A store with the usual limits, whose calls end with a deadline."""
    with pool.new_client() as http:
        yield lambda deadline: ObjectStore(
            endpoint, lambda: TOKEN, http=http, retries=deadline.limit(RetryPolicy())
        )


def ends(job: Job[object]) -> None:
    """Wait for a thread that nobody need wait for; raises what it raised."""
    assert job.done.wait(ENOUGH), "it waits for a silent server"
    job.result()


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_does_not_come(
    server: ScriptedServer,
    limited: Callable[[Deadline], ObjectStore],
    call: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets, "PATIENCE_SECONDS", 0.1)
    asked = threading.Event()

    def silent(request: Request, connection: socket.socket) -> None:
        request.receive()
        asked.set()
        server.over.wait()

    server.script(silent)
    deadline = Deadline()
    job = Job(lambda: CALLS[call](limited(deadline)))
    assert asked.wait(ENOUGH)
    deadline.cancel()
    with pytest.raises(TransferCancelled):
        ends(job)


def test_a_body_that_is_not_taken(
    server: ScriptedServer, limited: Callable[[Deadline], ObjectStore]
) -> None:
    asked = threading.Event()

    def silent(request: Request, connection: socket.socket) -> None:
        asked.set()
        server.over.wait()

    server.script(silent)
    deadline = Deadline()
    job = Job(lambda: limited(deadline).upload_part("b", "k", "up", 1, LARGE))
    assert asked.wait(ENOUGH)
    deadline.cancel()
    with pytest.raises(TransferCancelled):
        ends(job)


def test_a_body_that_is_taken_in_the_end(
    server: ScriptedServer, limited: Callable[[Deadline], ObjectStore]
) -> None:
    """It has looked, and looked again, in the middle of a block: no byte is lost or sent twice."""

    def slow(request: Request, connection: socket.socket) -> bool | None:
        server.over.wait(0.5)
        return stored()(request, connection)

    server.script(slow)
    assert limited(Deadline(600)).upload_part("b", "k", "up", 1, LARGE)
    assert len(server.requests) == 1


def test_the_answer_to_what_was_sent_is_heard(
    server: ScriptedServer,
    limited: Callable[[Deadline], ObjectStore],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is on its way when the call is called off: without it the part would be sent twice."""
    monkeypatch.setattr(sockets, "PATIENCE_SECONDS", ENOUGH)
    deadline = Deadline()

    def late(request: Request, connection: socket.socket) -> bool | None:
        request.receive()
        deadline.cancel()
        return stored(request.body_md5)(request, connection)

    server.script(late)
    assert limited(deadline).upload_part("b", "k", "up", 1, SMALL)


def test_an_answer_that_drips_ends_with_the_call(
    server: ScriptedServer, limited: Callable[[Deadline], ObjectStore]
) -> None:
    server.script(server.drip({}, every=0.02))
    job = Job(lambda: limited(Deadline(1.5)).create_multipart("b", "k", **DESCRIBED))  # type: ignore[arg-type]
    with pytest.raises(DeadlineExceeded):
        ends(job)


def test_an_answer_that_drips_is_given_up(
    server: ScriptedServer, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_SLOWEST_ANSWER", 0.2)
    server.script(*[server.drip({}, every=0.02)] * 6, answer(500))
    with pytest.raises(StorageUnavailable, match="takes too long"):
        store.create_multipart("b", "k", **DESCRIBED)  # type: ignore[arg-type]
    assert len(server.requests) == RetryPolicy().attempts


CONTROL: dict[str, Callable[[ControlPlane], object]] = {
    "list": lambda control: list(control.list_objects("b")),
    "sign": lambda control: control.signed_url("b", "k", 60),
}


@pytest.mark.parametrize("call", CONTROL)
def test_the_control_plane_ends_with_the_call(server: ScriptedServer, call: str) -> None:
    server.script(server.stall())
    with pool.new_client() as http:
        retries = Deadline(0.5).limit(RetryPolicy())
        control = ControlPlane(server.url, "key", http, retries=retries)
        job = Job(lambda: CONTROL[call](control))
        with pytest.raises(DeadlineExceeded):
            ends(job)
