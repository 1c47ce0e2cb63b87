"""A worker that is asked to end: it finishes or hands back what is in its hands, and goes.

On the first SIGTERM it takes no more work. Its children have ARGOSY_GRACE_SECONDS to finish,
then they are told to hand back; one that hangs is killed, and its claims are given back for
it. Another signal ends whatever it waits for. Celery's own soft shutdown is not used: it
sleeps for the whole time-out, whether or not anything is still to be done, and meanwhile
acknowledges nothing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import structlog
from celery import platforms
from celery.worker import state
from sqlalchemy.exc import SQLAlchemyError

from argosy.settings import FleetSettings
from models.database import one_session
from models.handing_back import hand_back
from tasks.leaving import SIGNAL
from tasks.messages import send_resume

HAND_BACK_SECONDS = 5.0
"""How long the children have to hand back, after the grace."""
END_SECONDS = 5.0
"""How long the main process has to end, after its children."""

log = structlog.get_logger(__name__)


class Departure:
    """How one worker goes. `children` gives the pids of its pool."""

    def __init__(
        self, settings: FleetSettings, worker: str, children: Callable[[], Iterable[int]]
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._children = children
        self._asked: SimpleQueue[int] = SimpleQueue()  # a signal's handler may put into it
        self._pids: set[int] = set()
        self._told = False

    def listen(self) -> None:
        """Take over the signals that Celery has: each asks to end, and the next to hurry."""
        for name in ("SIGTERM", "SIGINT", "SIGQUIT"):
            platforms.signals[name] = self._ask
        threading.Thread(target=self._see_off, name="departure", daemon=True).start()

    def _ask(self, number: int, _frame: Any) -> None:
        self._asked.put(number)
        state.should_stop = platforms.EX_OK

    def _see_off(self) -> None:
        """Wait as long as each step may take; the process mostly ends before the last."""
        self._asked.get()
        self._pids.update(self._children())
        log.info("worker.leaves", grace_seconds=self._settings.grace_seconds)
        self._wait(self._settings.grace_seconds)
        self._told = True
        self._signal_children(SIGNAL)
        log.info("worker.hands_back", children=len(self._pids))  # so: each has been told
        self._wait(HAND_BACK_SECONDS)
        self._signal_children(signal.SIGKILL)
        self._wait(END_SECONDS)
        log.warning("worker.ends_at_once")
        self._hand_back()
        os._exit(platforms.EX_OK)  # the main process waits for a broker that does not answer

    def _wait(self, seconds: float) -> None:
        with suppress(Empty):
            self._asked.get(timeout=seconds)

    def _signal_children(self, number: int) -> None:
        for pid in self._pids.intersection(self._children()):  # no other process has its pid yet
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def settle(self) -> None:
        """Once the children are gone: have others take at once what they did not finish."""
        if self._told:
            self._hand_back()
            send_resume()

    def _hand_back(self) -> None:
        workers = [f"{self._worker}/{pid}" for pid in self._pids]
        try:
            with one_session(self._settings.database_url) as session:
                claims = hand_back(session, workers)
        except SQLAlchemyError as error:  # then their leases run out
            log.warning("worker.not_handed_back", error=type(error).__name__)
        else:
            log.info("worker.handed_back", claims=claims)
