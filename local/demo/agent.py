"""The agent of the demo: an ordinary Celery program that knows only what an agent may."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from celery import Celery
from celery.result import AsyncResult, ResultSet

import argosy
from argosy.settings import AgentSettings
from local.demo.cargo import Item
from tasks import transfer

OnProgress = Callable[[str, int], None]
OnDone = Callable[[str], None]
Check = Callable[[], None]


class Agent:
    """Signed in, and able to send requests."""

    def __init__(self, settings: AgentSettings) -> None:
        """Raises what `argosy.login` raises."""
        self._app = Celery("demo", broker=settings.broker_url, backend=settings.result_url)
        self._app.conf.broker_transport_options = {"confirm_publish": True}
        self._app.set_default()
        self._sent: list[AsyncResult] = []
        argosy.login(settings=settings)

    def close(self) -> None:
        """Drop the connections."""
        for result in self._sent:
            result.backend = None  # its end would look for the result store, gone by then
        self._app.close()

    def upload(self, item: Item) -> AsyncResult:
        """Ask for a file of the spool to be stored."""
        return self._note(transfer.upload.delay(str(item.path)))

    def download(self, item: Item, reference: Mapping[str, Any]) -> AsyncResult:
        """Ask for a stored file, beside its source."""
        return self._note(transfer.download.delay(reference, f"{item.path}.back"))

    def _note(self, result: AsyncResult) -> AsyncResult:
        self._sent.append(result)
        return result


def follow(
    results: Mapping[str, AsyncResult], on_progress: OnProgress, on_done: OnDone, check: Check
) -> None:
    """Tell how far each result is until all are there; `check` may give up by raising.

    Returns at the first failure: `get()` of that result raises what happened.
    """
    names = {result.id: name for name, result in results.items()}

    def heed(message: dict[str, Any]) -> None:
        if message["status"] == "PROGRESS":
            on_progress(names[message["task_id"]], message["result"]["bytes_done"])

    waiting = ResultSet(list(results.values()))
    for task_id, meta in waiting.iter_native(on_message=heed, on_interval=check):
        if meta["status"] != "SUCCESS":
            return
        on_done(names[task_id])
