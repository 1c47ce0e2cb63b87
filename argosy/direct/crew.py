"""Threads that do the work of one call, while whoever made the call can still be called off.

A thread that waits for a silent server cannot be woken. So nobody waits for it: when the call
is over it is told so, and whatever it still gets it throws away.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from argosy.deadline import Deadline

T = TypeVar("T")

_LOOK_SECONDS = 0.1
"""How often a call that waits looks whether it was cancelled."""


class CalledOff(BaseException):
    """Ends a thread whose call is over. No error: nobody hears of it."""


class Crew:
    """The threads of one call, as a context: once it is left none of them changes a thing."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._is_over = threading.Event()
        self._steps: list[threading.Lock] = []

    def gate(self) -> Gate:
        """For one thread: what it goes through before every step that others can see."""
        step = threading.Lock()
        self._steps.append(step)
        return Gate(step, self.check)

    def check(self) -> None:
        """Raise what ends a thread: CalledOff, or what the deadline says."""
        if self._is_over.is_set():
            raise CalledOff
        self._deadline.check()

    def result(self, work: Callable[[], T]) -> T:
        """Do something that may block. Raises what it raises, or what the deadline says."""
        job = Job(work)
        self.wait([job])
        return job.result()

    def wait(self, jobs: Sequence[Job[Any]]) -> None:
        """Wait for all; raises the first error of any, or what the deadline says."""
        for job in jobs:
            while not job.done.wait(min(_LOOK_SECONDS, self._deadline.left)):
                _raise_first(jobs)
                self._deadline.check()
        _raise_first(jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """Nothing more is wanted."""
        self._is_over.set()
        for step in self._steps:
            with step:  # what was begun is ended; nobody begins another
                pass


class Gate:
    """`with gate:` around a step. Raises what `Crew.check` raises, before it."""

    def __init__(self, step: threading.Lock, check: Callable[[], None]) -> None:
        self._step = step
        self._check = check

    def __enter__(self) -> None:
        self._check()
        self._step.acquire()
        try:
            self._check()
        except BaseException:
            self._step.release()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._step.release()


class Job(Generic[T]):
    """Work in a thread of its own, which the end of the process does not wait for."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.done = threading.Event()
        self.error: BaseException | None = None
        self._result: T
        # The work is the thread's alone: a job must not keep alive what keeps the job.
        threading.Thread(target=self._run, args=(work,), name="argosy", daemon=True).start()

    def result(self) -> T:
        """What came of it, once it is done. Raises what it raised."""
        if self.error is not None:
            raise self.error
        return self._result

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._result = work()
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()


@contextmanager
def ending(blocks: Iterator[T]) -> Iterator[Iterator[T]]:
    """Close a generator when the block is left, and with it its connection.

    An error keeps its frames alive, and what they hold.
    """
    try:
        yield blocks
    finally:
        if isinstance(blocks, Generator):
            blocks.close()


def _raise_first(jobs: Sequence[Job[Any]]) -> None:
    for job in jobs:
        if job.error is not None:
            raise job.error
