"""The end of a call."""

from __future__ import annotations

import threading
import time

import pytest

from argosy.deadline import Deadline, called_off
from argosy.errors import DeadlineExceeded, StorageUnavailable, TransferCancelled
from argosy.storage.retry import RetryPolicy


def test_without_an_end() -> None:
    deadline = Deadline()
    deadline.check()
    assert deadline.left == float("inf")


def test_it_ends() -> None:
    deadline = Deadline(0.01)
    with pytest.raises(DeadlineExceeded, match=r"0\.01 seconds"):
        deadline.wait(30)
    with pytest.raises(DeadlineExceeded):
        deadline.check()


def test_a_wait_ends_when_it_is_cancelled() -> None:
    deadline = Deadline(60)
    timer = threading.Timer(0.05, deadline.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(TransferCancelled):
        deadline.wait(60)
    assert time.monotonic() - began < 30
    timer.join()


def test_somebody_else_may_call_it_off() -> None:
    off = threading.Event()
    reset = called_off.set(off)
    try:
        deadline = Deadline()
    finally:
        called_off.reset(reset)
    off.set()
    with pytest.raises(TransferCancelled):
        deadline.check()


def test_a_retry_does_not_sleep_past_it() -> None:
    policy = Deadline(0.05).limit(RetryPolicy(base_seconds=600, cap_seconds=600, attempts=1000))

    def away() -> None:
        raise StorageUnavailable("away", None, 600.0)

    began = time.monotonic()
    with pytest.raises((DeadlineExceeded, StorageUnavailable)):
        policy.run(away)
    assert time.monotonic() - began < 30
