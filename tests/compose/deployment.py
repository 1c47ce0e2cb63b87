"""The deployment of docker-compose.yml, as whoever installs it runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import ports
from local.environment_file import exported
from tests.compose.engine import Docker
from tests.compose.images import AGENT, ROOT
from tests.unit.deploy.compose import LINE, services

PROJECT = "argosy-test"
PORTS = (
    *("GATEWAY_PORT", "AMQP_PORT", "VALKEY_PORT", "RABBITMQ_MANAGEMENT_PORT", "FLOWER_PORT"),
    *("PROMETHEUS_PORT", "GRAFANA_PORT"),
)


@dataclass(frozen=True)
class Container:
    """One container, as `docker compose ps` tells of it."""

    id: str
    service: str
    state: str
    health: str
    exit_code: int


class Deployment:
    """One project of Docker Compose, with an .env of its own."""

    def __init__(self, docker: Docker, data: Path) -> None:
        self.docker = docker
        self._env = data / ".env"
        shutil.copy(ROOT / ".env.example", data)
        self._env.unlink(missing_ok=True)  # the volumes of an earlier run are gone too
        make = ROOT / "deploy" / "compose" / "make_env.py"
        subprocess.run([sys.executable, make, data], check=True)
        self.environment = dict(LINE.findall(self._env.read_text()))
        own = {name: str(ports.take()) for name in PORTS}
        own["PUBLIC_BROKER"] = "amqp://rabbitmq:5672/argosy"  # agents are containers beside it
        self.environment |= own
        with self._env.open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in own.items())

    @property
    def images(self) -> set[str]:
        """The images of every service."""
        return {one["image"] for one in services(self.environment).values()}

    def url(self, port: str) -> str:
        """An address of this machine."""
        return f"http://127.0.0.1:{self.environment[port]}"

    def compose(self, *words: str | Path, **options: object) -> str:
        """`docker compose ...`. Raises AssertionError with what it said."""
        named = ("--project-name", PROJECT, "--project-directory", ROOT, "--env-file", self._env)
        return self.docker("compose", *named, *words, **options)

    def up(self, *options: str) -> None:
        """Start everything, and wait until it is well. Raises AssertionError with the logs."""
        try:
            self.compose("up", "--detach", "--wait", "--no-build", *options)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.compose('logs', '--tail', '20')}") from None

    def down(self, *options: str) -> None:
        """End everything in order."""
        self.compose("--profile", "*", "down", "--timeout", "60", *options)

    def containers(self, service: str | None = None) -> list[Container]:
        """Those of this service, or all, ended ones included."""
        told = self.compose("ps", "--all", "--format", "json", stderr=subprocess.DEVNULL)
        rows: list[dict[str, Any]] = [json.loads(line) for line in told.splitlines()]
        found = [
            Container(row["ID"], row["Service"], row["State"], row["Health"], row["ExitCode"])
            for row in rows
        ]
        return [one for one in found if service in (None, one.service)]

    def argosy(self, *words: str) -> str:
        """An operator's command; returns its standard output."""
        command = ("run", "--rm", "--no-deps", "argosy", *words)
        return self.compose("--progress", "quiet", *command, stderr=subprocess.DEVNULL)

    def python(self, service: str, program: str) -> str:
        """Run Python in a running container; returns what it said, mistakes included."""
        words = ("exec", "--no-TTY", service, "python", "-c", program)
        named = ("--project-name", PROJECT, "--project-directory", ROOT, "--env-file", self._env)
        return self.docker.run("compose", *named, *words).stdout

    def add_agent(self, name: str) -> dict[str, str]:
        """Make an agent; returns the environment that its program needs."""
        told = exported(self.argosy("agents", "add", name))
        password = self.environment["VALKEY_AGENTS_PASSWORD"]
        shared = ("SUPABASE_ANON_KEY", "SUPABASE_PROJECT_REF")
        return {
            **told,
            **{name: self.environment[name] for name in shared},
            "SUPABASE_URL": "http://gateway:8000",
            "RESULT_URL": f"redis://agents:{password}@valkey:6379/0",
        }

    def run_agent(
        self,
        environment: dict[str, str],
        *arguments: str,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> str:
        """Run the agent's program beside the deployment; returns what it printed.

        `on_line` gets each line when it comes. Raises AssertionError where the program fails.
        """
        told = [word for item in environment.items() for word in ("--env", "=".join(item))]
        place = ("--network", f"{PROJECT}_default", "--volume", f"{PROJECT}_spool:/spool")
        said = []
        for line in self.docker.lines("run", "--rm", *place, *told, AGENT, *arguments):
            said.append(line)
            on_line(line)
        return "".join(said)
