"""The local Supabase: Storage and Auth, served by `python -m local.supabase`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from local.ports import HOST
from local.servers.base import Launch, OwnServer

_SOURCE = Path(__file__).parents[2]


class Supabase(OwnServer):
    """One project."""

    def __init__(self, data: Path, environment: Callable[[], Mapping[str, str]]) -> None:
        """`environment` tells the database and the keys, once the database has its port."""
        self._own_environment = environment
        super().__init__("supabase", data)

    @property
    def url(self) -> str:
        """The project's URL."""
        return f"http://{HOST}:{self.port}"

    def _prepare(self) -> Launch:
        folder = self.data / "supabase"
        folder.mkdir(mode=0o700, exist_ok=True)
        command = [sys.executable, "-m", "local.supabase", "serve"]
        options = ["--host", HOST, "--port", str(self.port), "--data", str(folder)]
        environment = python_environment(self._own_environment())
        return Launch([*command, *options], environment, folder=_SOURCE)

    def _why_not_ready(self) -> str | None:
        try:
            httpx.get(f"{self.url}/health", timeout=5).raise_for_status()
        except httpx.HTTPError as error:
            return str(error)
        return None


def python_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Ours, with what a Python program of this source tree needs, and its own on top."""
    path = [str(_SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(path), **own}
