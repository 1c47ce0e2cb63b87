"""What a worker's processes have counted, together, where Prometheus reads it.

Each process counts in files of its own that it has mapped into memory, so that a process which is
killed loses nothing. The files of processes that have ended are added up into one, which is then
theirs all: a worker's children come and go.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import structlog

from argosy.settings import FleetSettings

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Variable that prometheus_client reads when it is imported, and never again."""
ENDED = "ended"
"""Stands for the pid of all that have ended."""

log = structlog.get_logger(__name__)


def prepare(settings: FleetSettings, worker: str) -> None:
    """Have this process, and those that it forks, count in files; before anything is imported.

    `worker` is its whole name, with the host's: workers of one host have folders of their own.
    """
    folder = settings.state_dir / "metrics" / worker.replace(os.sep, "_")
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier worker of that name
    folder.mkdir(parents=True)
    os.environ[FOLDER] = str(folder.resolve())


class Exposition:
    """Answers scrapes from a thread of the worker's main process."""

    def __init__(self, folder: Path, address: str, port: int) -> None:
        self._folder = folder
        self._place = address, port
        self._server: Any = None
        self._lock = Lock()

    def tend(self) -> None:
        """Listen, if that was not possible before; add up what the dead have left."""
        if self._server is None:
            self._listen()
        with self._lock:
            fold(self._folder)

    def collect(self) -> Iterator[Any]:
        """What all processes have counted."""
        from prometheus_client.multiprocess import MultiProcessCollector

        with self._lock:
            yield from MultiProcessCollector(None, str(self._folder)).collect()  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Listen no more, and leave no file behind."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _listen(self) -> None:
        from prometheus_client import CollectorRegistry, start_http_server

        address, port = self._place
        registry = CollectorRegistry()
        registry.register(self)
        try:
            self._server, _ = start_http_server(port, address, registry)
        except OSError as error:  # no reason to carry nothing: it is tried again
            log.warning("metrics.not_served", address=address, port=port, error=str(error))
        else:
            log.info("metrics.served", address=address, port=self._server.server_port)


def of_this_worker(settings: FleetSettings) -> Exposition | None:
    """None where this worker tells nothing."""
    folder = os.environ.get(FOLDER)
    port = settings.worker_metrics_port
    return Exposition(Path(folder), settings.metrics_address, port) if folder and port else None


def fold(folder: Path) -> None:
    """Add up the files of processes that have ended, and remove them."""
    for path in sorted(folder.glob("*.db")):
        kind, _, pid = path.stem.rpartition("_")
        if pid == ENDED or _is_alive(int(pid)):
            continue
        if not kind.startswith("gauge"):
            _add(path, folder / f"{kind}_{ENDED}.db")
        path.unlink()


def _add(path: Path, to: Path) -> None:
    from prometheus_client.mmap_dict import MmapedDict

    sums: Any = MmapedDict(str(to))  # type: ignore[no-untyped-call]
    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
        sums.write_value(key, sums.read_value(key)[0] + value, 0.0)
    sums.close()


def _is_alive(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
