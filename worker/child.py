"""What a child of the worker does when it begins, while it works, and when it ends."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from celery.signals import task_postrun, task_prerun

if TYPE_CHECKING:
    from worker.tracing import Tracing

from argosy.settings import fleet_settings
from tasks.fleet import close_fleet
from tasks.leaving import leaving
from worker import measuring, signs


class Pulse:
    """Shows that a child lives, from a thread, unless its task is stuck."""

    def __init__(self, sign: signs.Sign) -> None:
        self._sign = sign
        self._at_task_since: float | None = None

    def beat(self) -> None:
        """Show life, for ever."""
        while True:
            if not self.is_stuck():
                self._sign.show()
            time.sleep(signs.EVERY_SECONDS)

    def is_stuck(self) -> bool:
        """Whether one task has taken longer than any may."""
        since = self._at_task_since
        return since is not None and time.monotonic() - since > signs.LONGEST_TASK_SECONDS

    def begin_task(self, **_: Any) -> None:
        """A task begins."""
        self._at_task_since = time.monotonic()

    def end_task(self, **_: Any) -> None:
        """It has ended."""
        self._at_task_since = None

    def stop(self) -> None:
        """Leave no file behind."""
        self._sign.remove()


_pulses: list[Pulse] = []
_tracings: list[Tracing] = []


def begin(sender: str, **_: Any) -> None:
    """Listen to the main process, which says when to let go, and show life."""
    leaving.listen()
    folder = signs.folder_of(fleet_settings().state_dir, sender)
    pulse = Pulse(signs.Sign(folder, f"child-{os.getpid()}"))
    _pulses[:] = [pulse]
    measuring.begin()
    if fleet_settings().traces_url:
        _trace(sender)
    task_prerun.connect(pulse.begin_task)
    task_postrun.connect(pulse.end_task)
    threading.Thread(target=pulse.beat, name="pulse", daemon=True).start()


def _trace(worker: str) -> None:
    from worker.tracing import Tracing  # what it imports is heavy

    _tracings[:] = [Tracing(fleet_settings(), worker)]
    _tracings[0].listen()


def end(**_: Any) -> None:
    """Leave no process behind that nobody would wait for, and no file."""
    for tracing in _tracings:
        tracing.close()
    close_fleet()
    for pulse in _pulses:
        pulse.stop()
