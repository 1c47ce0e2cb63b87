"""Workers that run one at a time, each from one call of Storage, or one rest, to the next."""

from __future__ import annotations

import threading
from typing import Any

from tasks.lease import Lease
from tasks.leaving import leaving
from tests.steered.broker import Message, Tasks
from tests.steered.moments import Fault, Killed
from tests.steered.storage import Caller, Ends

KILLS = frozenset({Ends.KILLED, Ends.KILLED_AFTER})
STEP_SECONDS = 60.0
"""A step takes milliseconds; one that takes so long is stuck."""


class Worker(Caller):
    """Carries one message, in a thread that runs only when it is told to."""

    def __init__(self, tasks: Tasks, message: Message, number: int) -> None:
        super().__init__(name=f"worker-{number}", daemon=True)
        self.message = message
        self.at: str | None = "the message"
        """Before which call of Storage it stands; None once it is done."""
        self.was_killed = False
        self.acknowledged = False
        self.lease: SteeredLease | None = None
        self._tasks = tasks
        self._ends = Ends.WELL
        self._surprise: BaseException | None = None
        self._go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self.start()

    def step(self, ends: Ends = Ends.WELL, fault: Fault | None = None) -> None:
        """Have it go on to the next call, or to its end. Raises what surprised it."""
        self._ends, self.fault = ends, fault
        leaving.now = ends == Ends.LEAVING
        self._go.release()
        if not self._stands.acquire(timeout=STEP_SECONDS):
            raise AssertionError(f"{self.message} is stuck after {self.at}")
        leaving.now = False
        if self._surprise is not None:
            raise AssertionError(f"{self.message} met {self._surprise!r}") from self._surprise

    def stop_at(self, call: str) -> Ends:
        """Stand before a call of Storage until `step` says how it ends."""
        self.at, self.fault = call, None
        self._stands.release()
        self._go.acquire()
        return self._ends

    def run(self) -> None:
        """The thread."""
        self._go.acquire()
        try:
            if self._ends not in KILLS:
                self.acknowledged = self._tasks.run(self.message, self.name)
        except Killed:
            self.was_killed = True
        except BaseException as error:
            self._surprise = error
        self.at = None
        self._stands.release()


class SteeredLease(Lease):
    """A lease without its thread: the test says when it is renewed."""

    claim: Any = None

    def __enter__(self) -> SteeredLease:
        worker = threading.current_thread()
        if isinstance(worker, Worker):
            worker.lease = self
        return self

    def __exit__(self, *_why: object) -> None:
        worker = threading.current_thread()
        if isinstance(worker, Worker):
            worker.lease = None

    def rest(self, seconds: float) -> None:
        """No time passes; the worker stands as before a call of Storage, and may die there."""
        worker = threading.current_thread()
        if isinstance(worker, Worker) and worker.stop_at("a rest") in KILLS:
            raise Killed
        self.check()

    def beat(self) -> None:
        """Renew it once; a worker whose claim is lost notices at its next block."""
        if not self._renew():
            self._lost.set()
