"""Signs of life: a small file for each process of a worker, which it writes as long as it lives.

`argosy health` reads them, and nothing else: no server is asked, so a worker is not taken for
dead, and all workers at once, because a server is away. Ages are by the monotonic clock, which
all processes of a machine share and nobody sets.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

EVERY_SECONDS = 5.0
"""How often a process shows that it lives."""
LONGEST_TASK_SECONDS = 1800.0
"""A task that takes longer is stuck: RabbitMQ gives up its message after that time."""
MAIN = "main"


def folder_of(state_dir: Path, worker: str) -> Path:
    """Where a worker's signs are; `worker` is its whole name, with the host's."""
    return state_dir / "workers" / worker.replace(os.sep, "_")


class Sign:
    """This process's sign. Shown from a loop or a thread, whatever is to be proved alive."""

    def __init__(self, folder: Path, name: str, clock: Callable[[], float] = time.monotonic):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / name
        self._clock = clock
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.show()

    def show(self) -> None:
        """Write the moment, and whose sign it is, over what is there.

        Where the disk does not let it, the sign grows old, and nothing else happens.
        """
        with suppress(OSError):
            os.pwrite(self._file, f"{self._clock():020.6f} {os.getpid():010}\n".encode(), 0)

    def remove(self) -> None:
        """Leave no file behind. Another thread may still show it, to nobody."""
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Shown:
    """A sign as it was found."""

    name: str
    age: float
    """Seconds since it was shown."""
    pid: int

    @property
    def is_alive(self) -> bool:
        """Whether there is such a process."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def clear(folder: Path) -> None:
    """Remove the signs of an earlier worker of that name."""
    shutil.rmtree(folder, ignore_errors=True)


def drop_dead(folder: Path) -> None:
    """Remove the signs of children that have ended."""
    for one in read(folder):
        if not one.is_alive:
            (folder / one.name).unlink(missing_ok=True)


def read(folder: Path) -> list[Shown]:
    """Every sign that is there."""
    if not folder.is_dir():
        return []
    found = (_read(path) for path in sorted(folder.iterdir()))
    return [one for one in found if one]


def _read(path: Path) -> Shown | None:
    try:
        moment, pid = path.read_text().split()
        return Shown(path.name, time.monotonic() - float(moment), int(pid))
    except (OSError, ValueError):  # it is gone meanwhile
        return None


def why_unwell(folder: Path, at_most: float) -> str | None:
    """What is wrong with the worker whose signs these are; None where it is well.

    It is well while its main process and any of its children have shown life in the last
    `at_most` seconds.
    """
    signs = {one.name: one for one in read(folder)}
    main = signs.pop(MAIN, None)
    if main is None:
        return f"there is no worker: {folder} has no sign of one"
    if not main.is_alive:
        return f"its main process {main.pid} has ended"
    if not 0 <= main.age <= at_most:
        return f"its main process {main.pid} has shown no life for {_seconds(main.age)}"
    children = [one for one in signs.values() if one.is_alive]
    if not children:
        return "it has no process that works"
    if all(not 0 <= one.age <= at_most for one in children):
        least = min((one.age for one in children), key=abs)
        return f"none of its {len(children)} processes has shown life for {_seconds(least)}"
    return None


def _seconds(age: float) -> str:
    return f"{age:.0f} s" if age >= 0 else "long: the machine has started anew"
