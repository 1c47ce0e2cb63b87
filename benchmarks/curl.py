"""curl, as somebody would use it who has no more than the REST protocol and a token."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.cases_tools import CURL
from benchmarks.deployment import BUCKET, Deployment


class Curl:
    """One stream each way, as the agent."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def upload(self, path: Path, key: str) -> int | None:
        """`curl -T`; returns the memory that it took, as everything that runs a tool does."""
        there = f"{self._base}/{BUCKET}/{key}"
        return self._run("--request", "POST", "--upload-file", str(path), there)

    def download(self, key: str, path: Path) -> int | None:
        """Into a file."""
        return self._run(f"{self._base}/authenticated/{BUCKET}/{key}", to=path)

    @property
    def _base(self) -> str:
        return f"{self._deployment.stack.supabase.url}/storage/v1/object"

    def _run(self, *arguments: str, to: Path = Path(os.devnull)) -> int | None:
        """The token goes in by standard input, where nobody sees it."""
        options = ["--silent", "--show-error", "--fail", "--config", "-", "--output", str(to)]
        secret = f'header = "Authorization: Bearer {self._deployment.token()}"\n'
        command = [CURL, *options, *arguments]
        return self._deployment.run(command, environment=os.environ, said=secret)
