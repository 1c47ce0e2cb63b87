"""What runs, seen from outside: by pid, session, working folder and environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

from local.processes import is_alive, wait_until
from local.stack import Stack

Answer = TypeVar("Answer")
Born = tuple[int, float]


def everything_of(stack: Stack) -> list[psutil.Process]:
    """The main processes, all their descendants, and whoever shares a session with them."""
    mains = [psutil.Process(server.pid) for server in stack.servers if server.pid]
    if epmd := getattr(stack.rabbitmq, "epmd", None):
        mains.append(psutil.Process(epmd.pid))
    families = [process for main in mains for process in [main, *main.children(recursive=True)]]
    sessions = {main.pid for main in mains}
    return [
        *families,
        *(process for process in psutil.process_iter() if _session(process) in sessions),
    ]


def running_in(data: Path) -> list[psutil.Process]:
    """Processes that work in the folder, or name it in their command or environment."""
    return [
        process for process in psutil.process_iter() if is_alive(process) and _names(process, data)
    ]


def of_each(
    processes: Iterable[psutil.Process], ask: Callable[[psutil.Process], Answer]
) -> list[Answer]:
    """What is asked of each process, but for those that are gone by now."""
    answers = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            answers.append(ask(process))
    return answers


STILL = 20.0
"""Seconds: what was killed is gone in far less, but for a machine that stands still meanwhile."""


def all_gone(processes: list[psutil.Process], seconds: float = STILL) -> bool:
    return wait_until(lambda: not any(map(is_alive, processes)), seconds=seconds)


def nothing_runs_in(data: Path, seconds: float = STILL) -> bool:
    """Whether all are gone, also those that were born after somebody looked."""
    return wait_until(lambda: not running_in(data), seconds=seconds)


def born(processes: list[psutil.Process]) -> list[Born]:
    return [(process.pid, process.create_time()) for process in processes]


def _session(process: psutil.Process) -> int | None:
    with suppress(ProcessLookupError):
        return os.getsid(process.pid)
    return None


def _names(process: psutil.Process, data: Path) -> bool:
    if process.pid == os.getpid():
        return False
    with suppress(psutil.Error):
        words = [process.cwd(), *process.cmdline(), *process.environ().values()]
        return any(str(data) in word for word in words)
    return False
