"""The client for asyncio: one behaviour with the other, and an end when it is cancelled."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from argosy import AsyncClient, DownloadOptions, UploadOptions
from argosy.errors import DeadlineExceeded, ObjectNotFound, SourceUnreadable
from tests.deployment import AgentInTest, Deployment
from tests.integration.client.conftest import settings_of

T = TypeVar("T")
Run = Callable[[Callable[[AsyncClient], Awaitable[T]]], T]


@pytest.fixture
def run(deployment: Deployment, agent: AgentInTest, tmp_path: Path) -> Run[object]:
    """Runs a coroutine with a client in a loop of its own."""

    async def within(work: Callable[[AsyncClient], Awaitable[T]]) -> T:
        settings = settings_of(deployment, agent, tmp_path)
        async with AsyncClient(settings, agent=agent.name, key=agent.key) as client:
            return await work(client)

    return lambda work: asyncio.run(within(work))


def test_round_trip(run: Run[None], tmp_path: Path) -> None:
    content = os.urandom(2_500_000)

    async def work(client: AsyncClient) -> None:
        reference = await client.upload_file(content, {"a": "b"})
        path = await client.download_file(reference, tmp_path / "copy")
        assert path.read_bytes() == content
        assert b"".join([block async for block in client.iter_bytes(reference)]) == content
        async with await client.open_file(reference) as file:
            await file.seek(-10, os.SEEK_END)
            assert await file.read() == content[-10:]
        assert [info.path async for info in client.list_files()] == [reference.path]
        await client.delete_file(reference)
        with pytest.raises(ObjectNotFound):
            await client.get_file_metadata(reference)

    run(work)


def test_a_closed_client_begins_anew(run: Run[None]) -> None:
    async def work(client: AsyncClient) -> None:
        reference = await client.upload_file(b"before")
        await client.close()
        await client.delete_file(reference)

    run(work)


def test_many_at_once(run: Run[None]) -> None:
    async def work(client: AsyncClient) -> None:
        contents = [os.urandom(1000) for _ in range(50)]
        references = await asyncio.gather(*map(client.upload_file, contents))
        assert len({reference.id for reference in references}) == 50
        for content, reference in zip(contents, references, strict=True):
            assert b"".join([block async for block in client.iter_bytes(reference)]) == content

    run(work)


def test_a_stream_of_blocks(run: Run[None]) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        for number in range(20):
            await asyncio.sleep(0)
            yield bytes([number]) * 1_000_000

    async def work(client: AsyncClient) -> None:
        options = UploadOptions(part_size=5 * 1024 * 1024)
        reference = await client.upload_stream(blocks(), "stream.bin", options=options)
        assert reference.size == 20_000_000

    run(work)


def test_a_stream_that_breaks(run: Run[None]) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise ValueError("half way")

    async def work(client: AsyncClient) -> None:
        with pytest.raises(SourceUnreadable) as caught:
            await client.upload_stream(blocks(), "broken.bin")
        assert isinstance(caught.value.__cause__, ValueError)
        assert [info async for info in client.list_files()] == []

    run(work)


def test_a_cancelled_call_ends(run: Run[None]) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async def work(client: AsyncClient) -> None:
        for call in (client.upload_stream(never(), "never.bin"), client.wait(os.urandom(16).hex())):
            task = asyncio.create_task(call)
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(task, 20)
        assert [info async for info in client.list_files()] == []

    run(work)


def test_a_deadline(run: Run[None], tmp_path: Path) -> None:
    async def work(client: AsyncClient) -> None:
        reference = await client.upload_file(b"x" * 100)
        with pytest.raises(DeadlineExceeded):
            options = DownloadOptions(deadline_seconds=1e-9, cache=False)
            await client.download_file(reference, tmp_path / "late", options=options)
        assert not (tmp_path / "late").exists()

    run(work)
