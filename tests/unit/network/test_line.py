"""Bytes are late and in order; a narrow connection lets so many a second pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.network.line import Conditions, DelayLine, TokenBucket

RATE = 1000


def test_bytes_pass_at_the_rate_once_the_burst_is_spent() -> None:
    bucket = TokenBucket(RATE, burst=100)
    assert bucket.pass_at(100, now=5.0) == 5.0
    assert bucket.pass_at(500, now=5.0) == pytest.approx(5.5)
    assert bucket.pass_at(500, now=5.2) == pytest.approx(6.0)


def test_no_more_is_saved_up_than_the_burst_however_long_nothing_passed() -> None:
    bucket = TokenBucket(RATE, burst=100)
    bucket.pass_at(100, now=0.0)
    assert bucket.pass_at(200, now=1e6) == pytest.approx(1e6 + 0.1)


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 10)), min_size=1))
def test_never_more_pass_than_rate_and_burst_allow(asked: list[tuple[int, float]]) -> None:
    bucket, now, passed = TokenBucket(RATE, burst=64), 0.0, 0
    for size, pause in asked:
        now += pause
        passed += size
        at = bucket.pass_at(size, now)
        assert at >= now
        assert passed <= 64 + RATE * at + 1e-6


def test_a_delay_does_not_make_bytes_fewer() -> None:
    line = DelayLine()
    for number in range(1000):  # all sent within a second, all of them late by ten
        line.put(bytes([number % 256]), due=number / 1000 + 10)
    assert line.held == 1000
    arrived = [line.take(now=10.999) for _ in range(1000)]
    assert arrived == [bytes([number % 256]) for number in range(1000)]
    assert line.held == 0
    assert line.next_due is None


def test_nothing_overtakes_and_the_end_comes_last() -> None:
    line = DelayLine()
    line.put(b"slow", due=2.0)
    line.put(b"fast", due=1.0)
    line.put(None, due=0.0)
    assert line.next_due == 2.0
    with pytest.raises(ValueError, match="due in"):
        line.take(now=1.9)
    assert [line.take(now=2.0) for _ in range(3)] == [b"slow", b"fast", None]


def test_half_of_the_round_trip_is_each_way() -> None:
    assert Conditions(round_trip=0.1).way == 0.05
