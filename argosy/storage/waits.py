"""Waits on a connection that end when the call does for which it waits.

A thread that waits for a silent server cannot be woken: it wakes by itself, now and then, and
asks whether anybody still waits for what it does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import httpcore

from argosy.storage.retry import RetryPolicy

T = TypeVar("T")

LOOK_SECONDS = 0.1
"""How often a thread that waits looks whether it is called off."""

_heeded: ContextVar[RetryPolicy | None] = ContextVar("heeded", default=None)


@contextmanager
def heeding(policy: RetryPolicy) -> Iterator[None]:
    """Within it, what this thread sends and receives ends with what `policy.check` raises.

    Not to be left, and gone on with by another thread, in between.
    """
    before = _heeded.set(policy)
    try:
        yield
    finally:
        _heeded.reset(before)


def heeded() -> RetryPolicy | None:
    """The policy by which this thread's waits end, if any."""
    return _heeded.get()


def in_short_waits(
    step: Callable[[float], T], timeout: float | None, look: Callable[[], object]
) -> T:
    """What a step gives that may be tried again when it has waited in vain.

    Raises the step's own time-out after `timeout` seconds, and what `look` raises meanwhile.
    """
    end = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        try:
            return step(max(min(LOOK_SECONDS, end - time.monotonic()), 0.001))
        except httpcore.TimeoutException:
            if time.monotonic() >= end:
                raise
            look()
