"""A Docker engine: one that answers, or one of the lane's own on this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local.servers.base import Launch, OwnServer

INSTALL = Path(__file__).with_name("install.sh")


class Docker:
    """The client, speaking to one engine."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` names the engine and the folder of the client's plugins."""
        self.environment = {**os.environ, **environment}

    def __call__(self, *words: str | Path, **options: object) -> str:
        """Run a command; returns what it said. Raises AssertionError with all it said."""
        done = self.run(*words, **options)
        assert done.returncode == 0, f"docker {' '.join(map(str, words))}:\n{done.stdout}"
        return done.stdout

    def run(self, *words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever comes of it; both streams are in `stdout`."""
        return subprocess.run(  # type: ignore[call-overload, no-any-return]
            ["docker", *map(str, words)],
            **{"env": self.environment, "stderr": subprocess.STDOUT, **options},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )

    def lines(self, *words: str | Path) -> Iterator[str]:
        """Run a command; gives each line that it says when it says it.

        Raises AssertionError with all it said where it fails.
        """
        command = ["docker", *map(str, words)]
        said = []
        with subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                said.append(line)
                yield line
        assert running.returncode == 0, f"docker {words[0]}:\n{''.join(said)}"

    def answers(self) -> bool:
        """Whether there is an engine."""
        return self.run("info").returncode == 0

    def has(self, image: str) -> bool:
        """Whether the engine has this image."""
        return self.run("image", "inspect", image).returncode == 0


class Engine(OwnServer):
    """`dockerd` with folders of its own; it makes no rules in the machine's firewall."""

    stop_grace = 30.0

    def __init__(self, data: Path) -> None:
        self._folder = data / "engine"
        self.docker = Docker(
            {"DOCKER_HOST": f"unix://{self._folder}/socket", "DOCKER_CONFIG": str(data / "client")}
        )
        super().__init__("dockerd", data)

    @property
    def ports(self) -> list[int]:
        """None: it listens on a socket."""
        return []

    def _take_ports(self) -> None:
        self.port = 0

    def _prepare(self) -> Launch:
        self._folder.mkdir(parents=True, exist_ok=True)
        command: list[str | Path] = [
            "dockerd",
            *("--host", f"unix://{self._folder}/socket"),
            *("--data-root", self._folder / "data", "--exec-root", self._folder / "run"),
            *("--pidfile", self._folder / "pid"),
            *("--iptables=false", "--ip6tables=false", "--bridge=none"),
        ]
        return Launch(command, dict(os.environ), folder=self._folder)

    def _why_not_ready(self) -> str | None:
        return None if self.docker.answers() else "it does not answer `docker info`"


@contextmanager
def an_engine(data: Path) -> Iterator[Docker]:
    """Docker with the plugins that the lane needs. Raises AssertionError where it cannot be had."""
    client = data / "client"
    client.mkdir(parents=True, exist_ok=True)
    theirs = Docker({})
    config = {} if theirs.run("compose", "version").returncode == 0 else {"DOCKER_CONFIG": client}
    asked = {**os.environ, **{name: str(value) for name, value in config.items()}}
    done = subprocess.run(["sh", INSTALL, client / "cli-plugins"], env=asked, check=False)
    assert done.returncode == 0, "no Docker engine can be had here: see above"
    if theirs.answers():
        yield Docker({name: str(value) for name, value in config.items()})
        return
    engine = Engine(data)
    engine.start()
    try:
        yield engine.docker
    finally:
        engine.docker.run("image", "prune", "--force")  # those that a newer build has replaced
        engine.stop()
