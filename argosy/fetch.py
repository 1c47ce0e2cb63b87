"""Files in the place of their references: fetched before something runs, and gone after it."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from argosy.deadline import called_off
from argosy.direct import download
from argosy.errors import InvalidMessage, InvalidRequest
from argosy.naming import safe_name
from argosy.options import DownloadOptions
from argosy.reference import FileReference
from argosy.references import key_of, references_in, replaced, too_many_files
from argosy.scratch import scratch_folder
from argosy.settings import AgentSettings

if TYPE_CHECKING:
    from argosy.client import Client

__all__ = ["LocalFile", "fetch_files", "fetched", "references_in"]

R = TypeVar("R")
AT_ONCE = 4
"""Files that are fetched at once; each of them may move in parallel parts itself."""
_LOOK_SECONDS = 0.2
"""How often a fetch looks whether its caller has called it off."""


@dataclass(frozen=True)
class LocalFile(os.PathLike[str]):
    """A fetched file, verified: a path for `open` and the like, and its reference.

    It is there for as long as the handler or task runs that got it.
    """

    path: Path
    reference: FileReference

    def __fspath__(self) -> str:
        return str(self.path)


@contextmanager
def fetched(client: Client, references: Sequence[FileReference]) -> Iterator[list[LocalFile]]:
    """The files of the references, in their order, in a private folder that goes afterwards.

    Raises InvalidMessage before anything is fetched where there are too many, or too many
    bytes, and what `Client.download_file` raises: then none is there.
    """
    check_limits(references, client.settings)
    with ExitStack() as stack:
        files = []
        if references:
            files = _fetch_all(client, references, stack.enter_context(scratch_folder()))
        yield files


def check_limits(references: Sequence[FileReference], settings: AgentSettings) -> None:
    """Raise InvalidMessage where these are more files or bytes than the settings allow."""
    if len(references) > settings.message_references:
        raise too_many_files(settings.message_references)
    size = sum(reference.size for reference in references)
    if size > settings.message_fetch_bytes:
        raise InvalidMessage(
            f"{size:,} bytes are to be fetched, {settings.message_fetch_bytes:,} may be "
            "(ARGOSY_MESSAGE_FETCH_BYTES)."
        )


def _fetch_all(
    client: Client, references: Sequence[FileReference], folder: Path
) -> list[LocalFile]:
    """All at once, as far as that is sensible; the first that fails ends the others."""
    enough = threading.Event()
    with ThreadPoolExecutor(min(AT_ONCE, len(references)), "argosy-fetch") as threads:
        jobs = []
        for number, reference in enumerate(references):
            wanted = folder / str(number)
            own = copy_context()
            jobs.append(threads.submit(own.run, _fetch, client, reference, wanted, enough))
        try:
            _wait_for(jobs, enough)
        finally:
            enough.set()
            threads.shutdown(wait=False, cancel_futures=True)
    return [job.result() for job in jobs]


def _wait_for(jobs: Sequence[Future[LocalFile]], enough: threading.Event) -> None:
    """Raise the first error there is."""
    caller = called_off.get()
    pending = set(jobs)
    while pending:
        done, pending = wait(pending, _LOOK_SECONDS if caller else None, FIRST_EXCEPTION)
        if caller and caller.is_set():
            enough.set()
        for job in done:
            job.result()


def _fetch(
    client: Client, reference: FileReference, folder: Path, enough: threading.Event
) -> LocalFile:
    called_off.set(enough)  # in a copy of the caller's context
    folder.mkdir(mode=0o700)
    # Nobody goes on with what is in a folder that goes: its journal goes with it.
    own = client.settings.model_copy(update={"journal_dir": folder / ".journal"})
    account, options = replace(client._account, settings=own), DownloadOptions()
    wanted = folder / safe_name(reference.name)
    with client._transfer(options) as (deadline, meter):
        path = download.download(account, reference, wanted, options, deadline, meter, client.cache)
    return LocalFile(path, reference)


# The decorator


@overload
def fetch_files(function: Callable[..., R], /) -> Callable[..., R]: ...
@overload
def fetch_files(
    *, client: Client | None = None
) -> Callable[[Callable[..., R]], Callable[..., R]]: ...
def fetch_files(
    function: Callable[..., Any] | None = None, /, *, client: Client | None = None
) -> Callable[..., Any]:
    """Have a function get files where its caller passes references, at any depth.

    Each reference (or its JSON document) in the arguments becomes a LocalFile for the time
    of the call; the files go when it returns. For a Celery task it stands *below*
    `@app.task` or `@shared_task`. The function may be `async`; a generator may not be
    decorated. `client` is the process's own agent's when it is not given. The call raises
    InvalidReference, InvalidMessage and what `Client.download_file` raises.
    """
    if function is None:
        return partial(fetch_files, client=client)
    _check_function(function)
    make = _async_call if inspect.iscoroutinefunction(function) else _call
    call = make(function, client)
    call.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return call


def _check_function(function: Callable[..., Any]) -> None:
    if hasattr(function, "apply_async"):
        raise InvalidRequest("Put @fetch_files below the decorator that makes a Celery task.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidRequest("@fetch_files is for functions that return, and for no generators.")


def _call(function: Callable[..., Any], client: Client | None) -> Callable[..., Any]:
    @wraps(function)
    def call(*positional: Any, **named: Any) -> Any:
        with _with_files(client, (positional, named)) as (own, own_named):
            return function(*own, **own_named)

    return call


def _async_call(function: Callable[..., Any], client: Client | None) -> Callable[..., Any]:
    @wraps(function)
    async def call(*positional: Any, **named: Any) -> Any:
        with ExitStack() as stack:
            files = _with_files(client, (positional, named))
            own, own_named = await _entered(stack, files)
            return await function(*own, **own_named)

    return call


async def _entered(stack: ExitStack, files: AbstractContextManager[R]) -> R:
    """Enter in a thread; when the task is cancelled meanwhile, end that first."""
    enough = threading.Event()
    before = called_off.set(enough)
    entering = asyncio.ensure_future(asyncio.to_thread(stack.enter_context, files))
    called_off.reset(before)
    try:
        return await asyncio.shield(entering)
    except asyncio.CancelledError:
        enough.set()
        await asyncio.wait([entering])
        raise


@contextmanager
def _with_files(
    client: Client | None, arguments: tuple[tuple[Any, ...], dict[str, Any]]
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    references = references_in(arguments)
    if not references:
        yield arguments
        return
    with fetched(client or _own_client(), references) as files:
        yield replaced(arguments, {key_of(file.reference): file for file in files})


_clients: dict[int, Client] = {}


def _own_client() -> Client:
    """The client of this process's agent, made when it is first needed."""
    from argosy.client import Client

    pid = os.getpid()
    if pid not in _clients:
        _clients[pid] = Client()
    return _clients[pid]
