"""There and back: every file up through the fleet, down through the fleet, and compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from argosy import Error, FileReference
from local.demo.agent import Agent, follow
from local.demo.cargo import Item, sha256_of
from local.demo.failed import DemoFailed
from local.servers import Server

PATIENCE_SECONDS = 180
"""How long the fleet may be silent. A lost message is sent again after 60 s."""


class Shown(Protocol):
    """Shows how far each file is."""

    def progress(self, name: str, done: int) -> None:
        """So many bytes of this file have arrived."""

    def done(self, name: str) -> None:
        """This file has arrived."""


Show = Callable[[str, Sequence[Item]], AbstractContextManager[Shown]]


@dataclass(frozen=True)
class Carried:
    """A file that went up and came back the same."""

    item: Item
    reference: FileReference
    seconds_up: float
    seconds_down: float


def there_and_back(
    agent: Agent, items: Sequence[Item], servers: Sequence[Server], show: Show
) -> list[Carried]:
    """Carry every file; raises DemoFailed with the reason when one does not come back the same."""
    with show("up", items) as shown:
        requests = {item.name: (lambda item=item: agent.upload(item)) for item in items}
        up = _Leg("upload", servers, shown).run(requests)
    with show("down", items) as shown:
        back = {
            item.name: (lambda item=item: agent.download(item, up[item.name].value))
            for item in items
        }
        down = _Leg("download", servers, shown).run(back)
    return [_compared(item, up[item.name], down[item.name]) for item in items]


@dataclass(frozen=True)
class _Answer:
    value: Any
    seconds: float


class _Leg:
    """One way: all requests at once, until every one is answered."""

    def __init__(self, what: str, servers: Sequence[Server], shown: Shown) -> None:
        self._what = what
        self._servers = servers
        self._shown = shown
        self._began: dict[str, float] = {}
        self._ended: dict[str, float] = {}
        self._heard = time.monotonic()

    def run(self, requests: Mapping[str, Callable[[], Any]]) -> dict[str, _Answer]:
        results = {}
        for name, send in requests.items():
            self._began[name] = time.monotonic()
            results[name] = send()
        try:
            follow(results, self._progress, self._done, self._check)
        except Exception:
            self._check()  # a server that has ended is the better reason
            raise
        return {name: self._answer(name, result) for name, result in results.items()}

    def _answer(self, name: str, result: Any) -> _Answer:
        if result.failed():
            raise DemoFailed(f"The {self._what} of {name} failed: {_sentence(result.result)}")
        return _Answer(result.result, self._ended.get(name, self._heard) - self._began[name])

    def _progress(self, name: str, done: int) -> None:
        self._heard = time.monotonic()
        self._shown.progress(name, done)

    def _done(self, name: str) -> None:
        self._heard = self._ended[name] = time.monotonic()
        self._shown.done(name)

    def _check(self) -> None:
        for server in self._servers:
            if server.pid is not None and not server.is_running():
                raise DemoFailed(f"{server.name} ended by itself.\n{server.tail()}")
        if time.monotonic() - self._heard > PATIENCE_SECONDS:
            waiting = ", ".join(self._began.keys() - self._ended.keys())
            raise DemoFailed(
                f"The {self._what} of {waiting}: no word for {PATIENCE_SECONDS} s.\n"
                + "\n".join(server.tail(5) for server in self._servers)
            )


def _sentence(error: object) -> str:
    return str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"


def _compared(item: Item, up: _Answer, down: _Answer) -> Carried:
    reference = FileReference.parse(up.value)
    came_back = sha256_of(Path(down.value))
    if not item.sha256 == reference.sha256 == came_back:
        raise DemoFailed(
            f"{item.name} is not the same: SHA-256 of the source {item.sha256}, "
            f"in its reference {reference.sha256}, of what came back {came_back}."
        )
    return Carried(item, reference, up.seconds, down.seconds)
