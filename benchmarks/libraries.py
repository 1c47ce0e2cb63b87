"""Processes that move files by a library, and what they are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.cargo import BenchmarkFailed
from benchmarks.deployment import Deployment
from benchmarks.library import DIRECT


class LibraryProcess:
    """One such process, whose CPU time and memory are watched under `role`."""

    def __init__(self, name: str, process: subprocess.Popen[str]) -> None:
        self.role = name
        self._process = process

    def ask(self, **told: Any) -> Any:
        """Have it move a file. Raises BenchmarkFailed when it could not, and has ended."""
        if self._process.stdin is None or self._process.stdout is None:
            raise BenchmarkFailed(f"{self.role} was started without pipes")
        if told:
            self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise BenchmarkFailed(f"{self.role} ended: its last words are on the terminal")
        return json.loads(answer)


@contextmanager
def library(deployment: Deployment, name: str) -> Iterator[LibraryProcess]:
    """Start one, and wait until it has loaded what it needs."""
    agent = name == DIRECT
    more = deployment.agent_environment if agent else deployment.stack.environment
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.library", name],
        env={**os.environ, **more},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            deployment.add_helper(name, process.pid)
            started = LibraryProcess(name, process)
            started.ask()
            yield started
        finally:
            deployment.remove_helper(name)
            process.terminate()
