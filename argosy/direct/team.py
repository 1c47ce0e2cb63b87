"""Threads that move parts of one file; the first failure stops them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from argosy.deadline import Deadline
from argosy.storage.retry import RetryPolicy

LOOK_SECONDS = 0.1
"""How soon a thread that waits for one thing sees another."""


class Stopped(Exception):
    """Another thread of the team has failed: its error is the team's."""


class Team:
    """Does jobs in threads, `size` of them at once, and one more beside them.

    Left in peace, it waits for all jobs; otherwise it has them stop. Either way no thread
    is left, and the first error that a job raised is raised.
    """

    def __init__(self, deadline: Deadline, size: int) -> None:
        self._deadline = deadline
        self._slots = threading.Semaphore(size)
        self._pool = ThreadPoolExecutor(size + 1, thread_name_prefix="argosy-upload")
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._error: BaseException | None = None

    def check(self) -> None:
        """For jobs, between two blocks: raise Stopped, or what the deadline raises."""
        if self._stop.is_set():
            raise Stopped
        self._deadline.check()

    def wait(self, seconds: float) -> None:
        """For jobs: sleep, unless all is over. Raises what `check` raises."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._stop.wait(min(left, LOOK_SECONDS))
            self.check()

    def limit(self, policy: RetryPolicy) -> RetryPolicy:
        """The same policy, with pauses and silences that end when the team stops."""
        return replace(self._deadline.limit(policy), sleep=self.wait, check=self.check)

    def submit(self, job: Callable[[], None]) -> None:
        """Have a job done, once fewer than `size` are being done. Raises what `check` raises."""
        while not self._slots.acquire(timeout=LOOK_SECONDS):
            self.check()
        self._pool.submit(self._run, job, self._slots.release)

    def submit_beside(self, job: Callable[[], Any]) -> Future[Any]:
        """Have one job done beside the others; what it returns is there once the team is left."""
        return self._pool.submit(self._run, job, lambda: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error:
            self._stop.set()
        try:
            self._pool.shutdown(wait=True)
        except BaseException:  # Ctrl-C while it waits
            self._stop.set()
            self._pool.shutdown(wait=True)
            raise
        if self._error and (error is None or isinstance(error, Stopped)):
            raise self._error

    def _run(self, job: Callable[[], Any], release: Callable[[], None]) -> Any:
        try:
            self.check()
            return job()
        except Stopped:
            return None
        except BaseException as error:  # raised again by the thread that waits
            with self._lock:
                self._error = self._error or error
            self._stop.set()
            return None
        finally:
            release()
