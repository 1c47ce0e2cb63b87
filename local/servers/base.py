"""What every server of the stack can do, and how our own ones are started."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local import ports
from local.processes import Process

_ATTEMPTS = 3


class ServerFailed(RuntimeError):
    """A server ended, or does not answer; the message ends with the tail of its log."""


class NotOurs(RuntimeError):
    """The server was given to us by its address, so it is not ours to start or to kill."""


class Server(ABC):
    """A server of the stack."""

    name: str
    port: int
    log_path: Path

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """The pid of its main process; None before the first start."""

    @abstractmethod
    def start(self) -> None:
        """Start it, on the same port and with the same data each time, and wait until ready."""

    @abstractmethod
    def stop(self) -> None:
        """End it in order; kill it if that takes too long."""

    @abstractmethod
    def kill(self) -> None:
        """SIGKILL its main process, and wait until that and all its children are gone."""

    @abstractmethod
    def kill_without_waiting(self) -> None:
        """SIGKILL everything of it and return, for a signal handler."""

    @abstractmethod
    def wait_ready(self, seconds: float = 60.0) -> None:
        """Return when it answers; raise ServerFailed if it ends or the time is over."""

    @abstractmethod
    def is_running(self) -> bool:
        """Whether its main process lives."""

    @abstractmethod
    def tail(self, lines: int = 20) -> str:
        """The end of its log."""


@dataclass(frozen=True)
class Launch:
    """How to run a program."""

    command: Sequence[str | Path]
    environment: Mapping[str, str]
    folder: Path
    user: str | None = None


class OwnServer(Server):
    """A server that is a child of this process."""

    death_signal = signal.SIGKILL
    stop_signal = signal.SIGTERM
    stop_grace = 10.0
    orphans_grace = 2.0

    def __init__(self, name: str, data: Path) -> None:
        """`data` is the folder of the whole stack."""
        self.name = name
        self.data = data
        self._process = Process(name, data, death_signal=self.death_signal)
        self.log_path = self._process.log_path
        self._was_ready = False
        self._given_up = False
        self._take_ports()

    @property
    def pid(self) -> int | None:
        """The pid of its main process; None before the first start."""
        return self._process.pid

    def start(self) -> None:
        """Start it; a port that somebody took first is replaced, unless it was ours before."""
        self._given_up = False
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._launch()
                self.wait_ready()
            except ServerFailed:
                self.kill()
                if self._was_ready or attempt == _ATTEMPTS or all(map(ports.is_free, self.ports)):
                    raise
                self._take_ports()
            else:
                self._was_ready = True
                return

    def stop(self) -> None:
        """End it in order; kill it if that takes too long."""
        self._given_up = True
        self._process.stop(self.stop_signal, self.stop_grace)

    def ask_to_end(self, ask: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal as an orchestrator does, and wait for nothing."""
        self._given_up = True
        self._process.ask_to_end(ask)

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit code, once it has ended by itself. Raises subprocess.TimeoutExpired."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL its main process, and wait until that and all its children are gone."""
        self._process.kill(orphans_grace=self.orphans_grace)

    def kill_without_waiting(self) -> None:
        """SIGKILL everything of it and return, for a signal handler."""
        self._given_up = True
        self._process.kill_without_waiting()

    def wait_ready(self, seconds: float = 60.0) -> None:
        """Return when it answers; raise ServerFailed if it ends or the time is over."""
        deadline = time.monotonic() + seconds
        while (why := self._why_not_ready()) is not None:
            if not self.is_running():
                raise ServerFailed(self._report("ended before it was ready"))
            if time.monotonic() > deadline:
                raise ServerFailed(self._report(f"not ready after {seconds:.0f} s ({why})"))
            time.sleep(0.05)

    def is_running(self) -> bool:
        """Whether its main process lives."""
        return self._process.is_running()

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        return self._process.tail(lines)

    def has_said(self, words: str) -> bool:
        """Whether the words are in what it has logged since its last start."""
        return self._process.has_said(words)

    @property
    def ports(self) -> list[int]:
        """Every port it listens on."""
        return [self.port]

    def _take_ports(self) -> None:
        self.port = ports.take()

    def _launch(self) -> None:
        launch = self._prepare()
        if self._given_up:
            raise ServerFailed(f"{self.name} was stopped while it started")
        self._process.spawn(
            launch.command,
            environment=launch.environment,
            folder=launch.folder,
            user=launch.user,
        )

    def _report(self, what: str) -> str:
        return f"{self.name} {what}; the end of {self.log_path}:\n{self.tail()}"

    @abstractmethod
    def _prepare(self) -> Launch:
        """Make its folders and files, and say how to run it."""

    @abstractmethod
    def _why_not_ready(self) -> str | None:
        """None if it answers a real request, else a word about why not."""
