"""Leases: renewed by a thread, lost for good, patient with a database that is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from tasks import lease as lease_module
from tasks.lease import PASS_SECONDS, HandBack, Lease, LeaseLost, OutOfTime
from tasks.leaving import leaving

SOON = 0.6
POLL = 0.01
LONG = 30.0
STEP = LONG / 3


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long lease is looked at often: no machine stands still until it ends."""
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", POLL)


class Clock:
    """What leases take for the time."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(often: None, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that passes as the test says, or with each renewal."""
    made = Clock()
    monkeypatch.setattr(lease_module, "time", made)
    return made


class Renewals:
    """Answers to `renew`, one after the other; the last one is repeated."""

    def __init__(self, *answers: bool | Exception, clock: Clock | None = None) -> None:
        """With a clock, each of them comes a `STEP` after the one before."""
        self._answers = list(answers)
        self._clock = clock or Clock()
        self._enough = threading.Condition()
        self.count = 0

    def __call__(self) -> bool:
        with self._enough:
            answer = self._answers[min(self.count, len(self._answers) - 1)]
            self.count += 1
            self._clock.now += STEP
            self._enough.notify_all()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_for(self, count: int) -> None:
        with self._enough:
            assert self._enough.wait_for(lambda: self.count >= count, LONG)


def lost(lease: Lease) -> bool:
    """Whether the lease notices within a while that it is lost."""
    watch = threading.Event()
    for _ in range(int(LONG / POLL)):
        try:
            lease.check(1)
        except LeaseLost:
            return True
        watch.wait(POLL)
    return False


def _away() -> OperationalError:
    return OperationalError("UPDATE", {}, ConnectionError("the database is away"))


def test_a_long_lease_is_looked_at_no_less_often(often: None) -> None:
    """Work that is not wanted any more is noticed long before its lease ends."""
    with Lease(Renewals(True, True, False), 10 * LONG) as lease:
        assert lost(lease)


def test_a_thread_renews_it(clock: Clock) -> None:
    renewals = Renewals(True, clock=clock)
    with Lease(renewals, LONG) as lease:
        renewals.wait_for(4)  # longer than the first claim stands
        lease.check()


def test_it_is_not_renewed_before_its_time() -> None:
    renewals = Renewals(True)
    with Lease(renewals, LONG) as lease:
        lease.check(1_000_000)
    assert renewals.count == 0


def test_nothing_is_renewed_after_the_end() -> None:
    renewals = Renewals(True)
    with Lease(renewals, SOON):
        renewals.wait_for(2)
    count = renewals.count
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]
    assert renewals.count == count


def test_the_end_does_not_wait_for_the_next_renewal() -> None:
    with Lease(Renewals(True), 1_000_000, at_most=2_000_000):
        pass


def test_the_thread_ends_with_an_error_of_the_work() -> None:
    renewals = Renewals(True)
    with pytest.raises(ZeroDivisionError), Lease(renewals, SOON):
        raise ZeroDivisionError
    assert not [thread for thread in threading.enumerate() if thread.name == "lease"]


def test_a_lost_lease_stops_the_work(often: None) -> None:
    renewals = Renewals(True, True, False)
    with Lease(renewals, LONG) as lease:
        assert lost(lease)
        with pytest.raises(LeaseLost):
            lease.check()
    assert renewals.count == 3


def test_a_lost_lease_stays_lost(often: None) -> None:
    renewals = Renewals(False, True)
    with Lease(renewals, LONG) as lease:
        assert lost(lease)
    with pytest.raises(LeaseLost):
        lease.check()
    assert renewals.count == 1


ERRORS: list[Callable[[], Exception]] = [_away, lambda: NoConnection("no connection is free")]


@pytest.mark.parametrize("error", ERRORS, ids=["away", "no connection free"])
def test_trouble_with_the_database_is_not_the_loss_of_the_lease(
    error: Callable[[], Exception], clock: Clock
) -> None:
    renewals = Renewals(error(), True, clock=clock)
    with Lease(renewals, LONG) as lease:
        renewals.wait_for(4)  # longer than the first claim stands
        lease.check()


def test_a_claim_that_could_not_be_renewed_in_time_is_lost() -> None:
    """As after a stop of the process, or with the database away from this worker alone."""
    with Lease(Renewals(_away()), SOON) as lease:
        assert lost(lease)


def test_trouble_and_then_the_loss(often: None) -> None:
    with Lease(Renewals(_away(), False), 10 * LONG) as lease:
        assert lost(lease)


def test_work_that_is_stuck_is_not_renewed_for_ever(clock: Clock) -> None:
    renewals = Renewals(True, clock=clock)
    with Lease(renewals, LONG, at_most=5 * STEP) as lease:
        lease._thread.join(LONG)
        assert not lease._thread.is_alive()
    assert renewals.count == 6


def test_work_that_gets_on_is_renewed_however_long_it_takes(clock: Clock) -> None:
    renewals = Renewals(True, clock=clock)

    def renew() -> bool:
        lease.check()  # the work gets on between two renewals
        return renewals()

    lease = Lease(renew, LONG, at_most=LONG)
    with lease:
        renewals.wait_for(9)  # longer than both
        assert lease._thread.is_alive()


def test_a_worker_that_has_to_go_lets_go_at_the_next_block(monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease(lambda: True, 60) as lease:
        lease.check()
        monkeypatch.setattr(leaving, "now", True)
        with pytest.raises(HandBack):
            lease.check()


def test_a_pass_ends_before_the_broker_takes_its_message_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [time.monotonic()]
    lease = Lease(lambda: True, 10 * PASS_SECONDS)
    monkeypatch.setattr(lease_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    now[0] += PASS_SECONDS + 1
    lease.check()  # what is no pass may take longer
    lease.begin_pass()
    now[0] += PASS_SECONDS
    lease.check()
    now[0] += 1
    with pytest.raises(OutOfTime):
        lease.check()
    with pytest.raises(OutOfTime):
        lease.moved(1)


def test_who_waits_for_its_rate_hears_that_the_pass_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease_module, "PASS_SECONDS", 0.1)
    with Lease(lambda: True, 60) as lease:
        lease.begin_pass()
        with pytest.raises(OutOfTime):
            lease.rest(LONG)
