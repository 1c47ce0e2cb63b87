"""A call that is called off, or out of time, ends: also while Storage is silent."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest

from argosy import AsyncClient, Client, DownloadOptions, UploadOptions
from argosy.deadline import Deadline
from argosy.direct import call
from argosy.direct.crew import Job
from argosy.direct.upload import upload
from argosy.errors import DeadlineExceeded
from argosy.fleet import Fleet
from argosy.options import ListOptions
from argosy.progress import Meter
from argosy.storage.retry import RetryPolicy
from tests.deployment import AgentInTest, Deployment
from tests.unit.storage.scripted import Request, ScriptedServer

from .clock import Clock
from .conftest import MakeClient
from .gate import Gate, Passing, gate_to
from .stored import account_on
from .test_upload import IN_PARTS, MIB, SIZE, check_nothing_left, check_stored

ENOUGH = 30
"""Seconds: less than any limit for silence, and much more than it takes."""
Wanted = Callable[[Passing], bool]


@pytest.fixture
def gate(deployment: Deployment) -> Iterator[Gate]:
    with gate_to(deployment.settings.supabase_url) as made:
        yield made


@pytest.fixture
def through(make_client: MakeClient, agent: AgentInTest, gate: Gate) -> Client:
    """A client behind the gate, for which 12 MiB are three parts; it has signed in."""
    client = make_client(agent, supabase_url=gate.url, parallel=1, **IN_PARTS)
    client.upload_file(b"signed in, and connected")
    return client


def not_taken(gate: Gate, wanted: Wanted) -> threading.Event:
    """Such a request is left where it is; set once there is one."""
    asked = threading.Event()

    def fault(passing: Passing) -> None:
        if wanted(passing):
            asked.set()
            gate.released.wait()

    gate.fault = fault
    return asked


def not_answered(gate: Gate, wanted: Wanted) -> threading.Event:
    """Storage has such a request, and does it; nobody hears of that. Set once it has one."""
    asked = threading.Event()

    def lose(passing: Passing) -> bool:
        if wanted(passing):
            asked.set()
            gate.released.wait()
        return False

    gate.lose = lose
    return asked


async def cancelled(awaited: Awaitable[Any], asked: threading.Event) -> None:
    """Cancel it once the silent request has been made: it ends."""
    task = asyncio.ensure_future(awaited)
    assert await asyncio.to_thread(asked.wait, ENOUGH)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, ENOUGH)


def run(client: Client, agent: AgentInTest, work: Callable[[AsyncClient], Awaitable[None]]) -> None:
    """Do it with a client for asyncio with the settings of the other one."""

    async def within() -> None:
        async with AsyncClient(client.settings, agent=agent.name, key=agent.key) as ours:
            await work(ours)

    asyncio.run(within())


STEPS: dict[str, tuple[int, Wanted]] = {
    "whole": (5 * MIB, lambda passing: passing.is_put),
    "part": (SIZE, lambda passing: passing.part == 2),
    "completion": (SIZE, lambda passing: passing.is_completion),
}


@pytest.mark.parametrize("silence", [not_taken, not_answered])
@pytest.mark.parametrize("step", STEPS)
def test_a_cancelled_upload_ends_and_is_gone_on_with(
    through: Client,
    gate: Gate,
    agent: AgentInTest,
    deployment: Deployment,
    tmp_path: Path,
    step: str,
    silence: Callable[[Gate, Wanted], threading.Event],
) -> None:
    size, wanted = STEPS[step]
    path = tmp_path / "cargo.bin"
    path.write_bytes(os.urandom(size))
    before = through.upload_file(b"before")
    asked = silence(gate, wanted)
    run(through, agent, lambda client: cancelled(client.upload_file(path), asked))
    gate.released.set()
    reference = through.upload_file(path)
    check_stored(through, reference, path.read_bytes())
    assert deployment.unfinished_uploads(agent) == []
    ours = {info.path for info in through.list_files()}
    assert {before.path, reference.path} <= ours
    assert len(ours) == 3, "what was given up has left an object that nobody knows"


def test_bytes_that_are_called_off_leave_nothing(
    through: Client, gate: Gate, agent: AgentInTest, deployment: Deployment
) -> None:
    """Storage has the object, and says so too late: it is removed all the same."""
    for info in through.list_files():
        through.delete_file(f"{through.settings.bucket}/{info.path}")
    asked = not_answered(gate, lambda passing: passing.is_put)
    run(through, agent, lambda client: cancelled(client.upload_file(b"x"), asked))
    check_nothing_left(deployment, through, agent)


def test_cleaning_up_takes_a_few_seconds_in_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """No more than a minute here, which is over as soon as somebody is asked."""
    monkeypatch.setattr(call, "LAST_WORDS", RetryPolicy(attempts=2, deadline_seconds=60))
    server = ScriptedServer()
    silent = server.stall()

    def past_the_end(request: Request, connection: socket.socket) -> bool | None:
        clock.ahead += 61
        return silent(request, connection)

    server.script(past_the_end)
    account, nobody, deadline = account_on(server, tmp_path), cast(Fleet, None), Deadline(60)

    def send() -> object:
        return upload(
            account, nobody, b"x", {}, UploadOptions(), deadline, Meter((), every_seconds=1)
        )

    try:
        job = Job(send)
        assert job.done.wait(ENOUGH), "it waits for a silent server"
        with pytest.raises(DeadlineExceeded):
            job.result()
        assert [request.method for request in server.requests] == ["PUT", "DELETE"]
    finally:
        server.close()


def test_an_iteration_over_bytes_is_called_off(
    through: Client, gate: Gate, agent: AgentInTest
) -> None:
    reference = through.upload_file(os.urandom(5 * MIB))

    async def work(client: AsyncClient) -> None:
        blocks = client.iter_bytes(reference)
        assert len(await anext(blocks)) == MIB
        asked = not_taken(gate, lambda passing: passing.method == "GET")
        await cancelled(anext(blocks), asked)

    run(through, agent, work)


def test_a_listing_is_called_off(through: Client, gate: Gate, agent: AgentInTest) -> None:
    through.upload_file(b"another")

    async def work(client: AsyncClient) -> None:
        infos = client.list_files(options=ListOptions(page_size=1))
        await anext(infos)
        asked = not_taken(gate, lambda passing: "/object/list" in passing.target)
        await cancelled(anext(infos), asked)

    run(through, agent, work)


SOON, BRIEFLY = DownloadOptions(deadline_seconds=1), ListOptions(deadline_seconds=1)
BOUNDED: dict[str, Callable[[Client, str], object]] = {
    "list_files": lambda client, _: list(client.list_files(options=BRIEFLY)),
    "iter_bytes": lambda client, place: client.iter_bytes(place, options=SOON),
    "open_file": lambda client, place: client.open_file(place, options=SOON),
}


@pytest.mark.parametrize("asked", BOUNDED)
def test_a_deadline_is_for_all_of_a_call(through: Client, gate: Gate, asked: str) -> None:
    reference = through.upload_file(b"x")
    not_taken(gate, lambda _passing: True)
    job = Job(lambda: BOUNDED[asked](through, f"{reference.bucket}/{reference.path}"))
    assert job.done.wait(ENOUGH), "it waits for a silent server"
    with pytest.raises(DeadlineExceeded):
        job.result()


def test_the_usual_deadline_is_for_a_signed_url(
    make_client: MakeClient, agent: AgentInTest, gate: Gate, through: Client
) -> None:
    reference = through.upload_file(b"x")
    hasty = make_client(agent, supabase_url=gate.url, deadline_seconds=3)
    assert hasty.agent_id, "signed in"
    not_taken(gate, lambda _passing: True)
    job = Job(lambda: hasty.signed_url(reference))
    assert job.done.wait(ENOUGH), "it waits for a silent server"
    with pytest.raises(DeadlineExceeded):
        job.result()


SENT: dict[str, Callable[[Client, Path], object]] = {
    "upload_later": lambda client, path: client.upload_later(path),
    "upload_many_later": lambda client, path: client.upload_many_later([path]),
    "retry": lambda client, _: client.retry(uuid4()),
}


@pytest.mark.parametrize("request_", SENT)
def test_the_usual_deadline_is_for_a_silent_broker(
    make_client: MakeClient, agent: AgentInTest, tmp_path: Path, request_: str
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with socket.create_server(("127.0.0.1", 0)) as broker:
        url = f"amqp://127.0.0.1:{broker.getsockname()[1]}//"
        hasty = make_client(agent, broker_url=url, deadline_seconds=1)
        assert hasty.agent_id, "signed in"
        job = Job(lambda: SENT[request_](hasty, tmp_path / "file"))
        assert job.done.wait(ENOUGH), "it waits for a silent broker"
        with pytest.raises(DeadlineExceeded):
            job.result()
