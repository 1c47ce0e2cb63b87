"""The version of the fleet before this one, from the history of this repository, to be run."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from local.servers.base import Launch
from local.servers.fleet import Beat, Worker

COMMIT = "926b9c8"
"""The last commit before migration 0006."""
REVISION = "0005"
ROOT = Path(__file__).resolve().parents[2]
MODULES = ("argosy", "models.transfer", "tasks.chunk", "worker.app")


class OldVersion:
    """Its source in a folder, which is what Python runs there and nothing of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with tarfile.open(fileobj=BytesIO(_archive())) as archive:
            archive.extractall(folder, filter="data")

    def launch(self, arguments: list[str], environment: Mapping[str, str]) -> Launch:
        """How a command of it is run, by our interpreter with our packages."""
        command = [sys.executable, "-m", "commands.main", *arguments]
        return Launch(command, self._environment(environment), folder=self.folder)

    def run(self, environment: Mapping[str, str], *arguments: str) -> str:
        """Run a command of it to its end, and return its output."""
        launch = self.launch(list(arguments), environment)
        return self._output([str(word) for word in launch.command], launch.environment)

    def files(self, environment: Mapping[str, str]) -> list[Path]:
        """From where its processes import the code."""
        program = f"import {', '.join(MODULES)}, sys\n" + "\n".join(
            f"print(sys.modules[{name!r}].__file__)" for name in MODULES
        )
        told = self._output([sys.executable, "-c", program], self._environment(environment))
        return [Path(line) for line in told.splitlines()]

    def _environment(self, own: Mapping[str, str]) -> dict[str, str]:
        python = {"PYTHONPATH": str(self.folder), "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **own, **python}

    def _output(self, command: list[str], environment: Mapping[str, str]) -> str:
        done = subprocess.run(
            command,
            env=dict(environment),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class OldWorker(Worker):
    """A worker of the old version."""

    version: OldVersion

    def _prepare(self) -> Launch:
        return self.version.launch(list(self._arguments), self._own_environment())


class OldBeat(Beat):
    """Its beat."""

    version: OldVersion

    def _prepare(self) -> Launch:
        return self.version.launch(list(self._arguments), self._own_environment())


def _archive() -> bytes:
    done = subprocess.run(
        ["git", "archive", "--format=tar", COMMIT], cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise AssertionError(
            f"The version before this one is commit {COMMIT}, which this clone does not have "
            f"({done.stderr.decode().strip()}). Run `git fetch --unshallow`, or clone the "
            "repository with its whole history."
        )
    return done.stdout
