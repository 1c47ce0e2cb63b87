"""Files instead of references, for the time of a call."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import inspect
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, shared_task

from argosy import Client, FileReference, LocalFile, Subscriber, UploadOptions, fetch, fetch_files
from argosy.errors import Error, InvalidMessage, InvalidReference, InvalidRequest, ObjectNotFound
from argosy.fetch import fetched
from argosy.scratch import PREFIX
from tests.deployment import remote
from tests.integration.client.mailing import Person

pytestmark = pytest.mark.skipif(remote(), reason="uses the local stack's RabbitMQ")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where files are fetched to; empty after every test."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def client(alice: Person) -> Client:
    """One for all tests here: they do not mind what others stored."""
    return alice.client


@pytest.fixture
def stored(client: Client) -> FileReference:
    return client.upload_file(b"content", options=UploadOptions(name="Ümlaut?.txt"))


@pytest.fixture
def own(client: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The process's own client is the test's."""
    monkeypatch.setattr(fetch, "_own_client", lambda: client)
    return client


def test_anywhere_in_the_arguments(own: Client, stored: FileReference) -> None:
    @fetch_files
    def look(first: Any, *rest: Any, named: Any) -> list[Any]:
        assert rest[0] == 5
        files = [first, rest[1]["deep"][0], named[0]]
        assert len({file.path for file in files}) == 1
        assert all(isinstance(file, LocalFile) for file in files)
        return [files[0], Path(files[0]).read_bytes(), files[0].reference]

    file, content, reference = look(
        stored, 5, {"deep": [stored.document()]}, named=(stored.document(),)
    )
    assert (content, reference) == (b"content", stored)
    assert not file.path.exists()


def test_a_file_is_for_its_process_alone(own: Client, stored: FileReference) -> None:
    @fetch_files
    def look(file: LocalFile) -> tuple[str, str, int]:
        folder = file.path.parent.parent
        with open(file, "rb") as opened:  # noqa: PTH123  as any library opens it
            assert opened.read() == b"content"
        return file.path.name, folder.parent.name, stat.S_IMODE(folder.stat().st_mode)

    assert look(stored) == ("Umlaut.txt", "scratch", 0o700)


def test_with_a_client(client: Client, stored: FileReference) -> None:
    @fetch_files(client=client)
    def look(file: LocalFile) -> bytes:
        return file.path.read_bytes()

    assert look(stored) == b"content"


def test_without_references_nothing_is_needed() -> None:
    """Not even an agent to sign in as."""

    @fetch_files
    def add(one: int, other: int = 2) -> int:
        """Sum."""
        return one + other

    assert add(1) == 3
    assert list(inspect.signature(add).parameters) == ["one", "other"]
    assert (add.__name__, add.__doc__) == ("add", "Sum.")


def test_what_the_function_raises(own: Client, stored: FileReference) -> None:
    @fetch_files
    def fail(file: LocalFile) -> None:
        raise KeyError(file.path.name)

    with pytest.raises(KeyError):
        fail(stored)


def test_a_file_that_is_gone(own: Client, stored: FileReference) -> None:
    """Nothing runs, and nothing is left of those that were there."""
    gone = own.upload_file(b"gone")
    own.delete_file(gone)

    @fetch_files
    def never(*_files: LocalFile) -> None:
        raise AssertionError

    with pytest.raises(ObjectNotFound):
        never(stored, gone)


class Heard(Subscriber):
    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_queued(self, transfer_id: str, name: str, bytes_total: int | None) -> None:
        self.heard.append(("queued", bytes_total))

    def on_done(self, result: object) -> None:
        self.heard.append("done")

    def on_error(self, error: Error) -> None:
        self.heard.append(error.code)


def test_subscribers_hear_how_it_ends(alice: Person, stored: FileReference) -> None:
    heard = Heard()
    settings = alice.client.settings
    with Client(settings, agent=alice.name, key=alice.key, subscribers=[heard]) as listened:
        with fetched(listened, [stored]):
            assert heard.heard == [("queued", 7), "done"]
        listened.delete_file(stored)
        with pytest.raises(ObjectNotFound), fetched(listened, [stored]):
            pass
    assert heard.heard[-1] == "object_not_found"


def test_a_broken_reference(own: Client, stored: FileReference) -> None:
    @fetch_files
    def never(_file: Any) -> None:
        raise AssertionError

    with pytest.raises(InvalidReference, match=r"\$\[0\]\[0\]\.x"):
        never({"x": {**stored.document(), "size": -1}})


def test_limits(alice: Person, stored: FileReference) -> None:
    other = alice.client.upload_file(b"another")
    for limit, message in (
        ({"message_references": 1}, "more than 1 files"),
        ({"message_fetch_bytes": 13}, "14 bytes are to be fetched, 13 may be"),
    ):
        settings = alice.client.settings.model_copy(update=limit)
        client = Client(settings, agent=alice.name, key=alice.key)
        with pytest.raises(InvalidMessage, match=message), fetched(client, [stored, other]):
            raise AssertionError


def test_many_at_once_in_their_order(client: Client) -> None:
    references = [client.upload_file(bytes([number])) for number in range(9)]
    with fetched(client, references) as files:
        assert [file.path.read_bytes() for file in files] == [bytes([n]) for n in range(9)]
        assert [file.reference for file in files] == references


def test_the_cache_is_used(client: Client) -> None:
    stored = client.upload_file(b"for the cache")
    assert client.cache
    before = client.cache.stats.hits
    for _ in range(3):
        with fetched(client, [stored]) as [file]:
            assert file.path.read_bytes() == b"for the cache"
            file.path.write_bytes(b"mine")  # what a handler does with its file is its own affair
    assert client.cache.stats.hits == before + 2


def test_what_a_killed_process_left(client: Client, stored: FileReference, scratch: Path) -> None:
    """Nobody holds its lock any more; what is held, or only being made, stays."""
    kept, left, young = (scratch / f"{PREFIX}{name}" for name in ("kept", "left", "young"))
    for folder in (kept, left, young):
        (folder / "0").mkdir(parents=True)
        (folder / "0" / "file").write_bytes(b"x")
    for folder in (kept, left):
        os.utime(folder, (0, 0))
    held = os.open(kept, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with fetched(client, [stored]) as [file]:
        here = set(scratch.iterdir())
        with fetched(client, [stored]):
            assert file.path.exists()
    assert here == {kept, young, file.path.parent.parent}
    os.close(held)
    shutil.rmtree(kept)
    shutil.rmtree(young)


# Coroutines


def test_a_coroutine(own: Client, stored: FileReference) -> None:
    @fetch_files
    async def look(file: LocalFile) -> tuple[Path, bytes]:
        await asyncio.sleep(0)
        return file.path, file.path.read_bytes()

    assert inspect.iscoroutinefunction(look)
    path, content = asyncio.run(look(stored))
    assert content == b"content"
    assert not path.exists()


def test_a_coroutine_that_is_cancelled(
    own: Client, stored: FileReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = asyncio.Event()
    real = fetch._fetch_all

    def slow(*arguments: Any) -> list[LocalFile]:
        loop.call_soon_threadsafe(began.set)
        assert fetch.called_off.get().wait(30)  # type: ignore[union-attr]
        return real(*arguments)

    monkeypatch.setattr(fetch, "_fetch_all", slow)

    @fetch_files
    async def never(_file: LocalFile) -> None:
        raise AssertionError

    async def cancel() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(never(stored))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    loop: Any = None
    asyncio.run(cancel())


# Celery


@pytest.fixture
def app() -> Iterator[Celery]:
    """Tasks run where they are called."""
    with Celery("eager", set_as_current=False) as made:
        made.conf.update(task_always_eager=True, task_store_eager_result=False)
        yield made


def test_below_the_tasks_decorator(app: Celery, own: Client, stored: FileReference) -> None:
    @app.task(bind=True, name="look")
    @fetch_files
    def look(self: Any, file: LocalFile, times: int = 1) -> str:
        assert self.name == "look"
        return file.path.read_text() * times

    assert look.delay(stored, times=2).get() == "contentcontent"
    assert look.apply([stored.document()]).get() == "content"
    with pytest.raises(TypeError):
        look.delay()  # Celery still checks the arguments


def test_above_the_tasks_decorator(app: Celery) -> None:
    def look(file: LocalFile) -> None: ...

    for make in (app.task(name="one"), shared_task(name="other")):
        with pytest.raises(InvalidRequest, match="below"):
            fetch_files(make(look))


def test_generators(own: Client) -> None:
    def lines(file: LocalFile) -> Iterator[str]:
        yield file.path.read_text()

    with pytest.raises(InvalidRequest, match="generators"):
        fetch_files(lines)


def test_a_method(own: Client, stored: FileReference) -> None:
    class Agent:
        @fetch_files
        def look(self, file: LocalFile) -> bytes:
            return file.path.read_bytes()

    assert Agent().look(stored) == b"content"
    assert functools.partial(Agent().look, stored)() == b"content"
