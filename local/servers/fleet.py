"""The fleet: workers, beat and Flower, each started with the console script `argosy`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import celery
import httpx

from local.ports import HOST
from local.servers.base import Launch, OwnServer, ServerFailed
from local.servers.broker import REFUSALS
from local.servers.supabase import python_environment

ARGOSY = str(Path(sys.executable).parent / "argosy")

Environment = Callable[[], Mapping[str, str]]


def run(command: str, environment: Mapping[str, str], folder: Path) -> str:
    """Run a command of `argosy` that ends by itself, and return what it said."""
    done = subprocess.run(
        [ARGOSY, command],
        env=python_environment(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServerFailed(f"`argosy {command}` failed ({done.returncode}):\n{done.stdout}")
    return done.stdout


class Argosy(OwnServer):
    """A long-running command of `argosy`."""

    def __init__(
        self, name: str, data: Path, arguments: Sequence[str], environment: Environment
    ) -> None:
        self._arguments = arguments
        self._own_environment = environment
        super().__init__(name, data)

    def _take_ports(self) -> None:
        self.port = 0  # it listens nowhere

    @property
    def ports(self) -> list[int]:
        """None."""
        return []

    def _prepare(self) -> Launch:
        environment = python_environment(self._own_environment())
        return Launch([ARGOSY, *self._arguments], environment, folder=self.data)


class Worker(Argosy):
    """A Celery worker with its prefork children."""

    stop_grace = 15.0  # a warm shutdown finishes the running task, which is one chunk

    def __init__(
        self,
        name: str,
        data: Path,
        concurrency: int,
        environment: Environment,
        *options: str,
    ) -> None:
        self._broker = lambda: environment()["BROKER_URL"]
        arguments = ["worker", "--name", name, "--concurrency", str(concurrency), *options]
        super().__init__(name, data, arguments, environment)

    def _why_not_ready(self) -> str | None:
        """Ready when it answers Celery's own ping."""
        app: Any = celery.Celery(broker=self._broker(), set_as_current=False)  # type: ignore[no-untyped-call]
        try:
            replies = app.control.broadcast(
                "ping", reply=True, timeout=0.5, limit=1, pattern=f"{self.name}@*", matcher="glob"
            )
        except REFUSALS as error:
            return str(error)
        finally:
            app.close()
        return None if replies else "no answer to a ping"


class Beat(Argosy):
    """Celery's beat: it talks to nobody, so its own word is all there is to wait for."""

    def __init__(self, data: Path, environment: Environment) -> None:
        super().__init__("beat", data, ["beat"], environment)

    def _why_not_ready(self) -> str | None:
        return None if self.has_said("beat: Starting") else "it has not said that it starts"


class Flower(OwnServer):
    """Flower, the fleet's dashboard."""

    stop_grace = 3.0  # it writes down what it keeps, and waits long for its own threads

    def __init__(self, data: Path, environment: Environment) -> None:
        self._own_environment = environment
        super().__init__("flower", data)

    @property
    def url(self) -> str:
        """Where a browser goes."""
        return f"http://{HOST}:{self.port}"

    def _prepare(self) -> Launch:
        environment = python_environment(self._own_environment())
        command = [ARGOSY, "flower", "--port", str(self.port)]
        return Launch(command, environment, folder=self.data)

    def _why_not_ready(self) -> str | None:
        try:
            answer = httpx.get(f"{self.url}/healthcheck", timeout=5)
        except httpx.HTTPError as error:
            return str(error)
        # With a password set, or another URL prefix, any answer shows that it serves.
        return None if answer.status_code < 500 else f"HTTP {answer.status_code}"
