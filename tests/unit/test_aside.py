"""Who has asked for so much that its requests are set aside."""

from __future__ import annotations

from worker.aside import AT_ONCE, MOST_SENDERS, PER_SECOND, Allowances


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _taken(allowances: Allowances, sender: object, times: int) -> int:
    return sum(allowances.take(sender) for _ in range(times))


def test_so_many_at_once_and_no_more() -> None:
    allowances = Allowances(Clock())
    assert _taken(allowances, "a", 1000) == AT_ONCE
    assert _taken(allowances, "b", 1) == 1


def test_more_with_the_time() -> None:
    clock = Clock()
    allowances = Allowances(clock)
    _taken(allowances, "a", 1000)
    clock.now += 2
    assert _taken(allowances, "a", 1000) == 2 * PER_SECOND
    clock.now += 3600
    assert _taken(allowances, "a", 1000) == AT_ONCE


def test_only_the_latest_senders_are_known() -> None:
    allowances = Allowances(Clock())
    _taken(allowances, "a", AT_ONCE)
    for number in range(MOST_SENDERS - 1):
        allowances.take(number)
    assert not allowances.take("a"), "it has been forgotten too early"
    for number in range(MOST_SENDERS):
        allowances.take(("later", number))
    assert allowances.take("a")
