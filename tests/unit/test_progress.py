"""The meter: what subscribers hear is true, monotonic, not too often, and exact at the end."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from argosy.errors import Error, StorageUnavailable
from argosy.progress import Meter, Subscriber


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Heard(Subscriber):
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_queued(self, transfer_id: str, name: str, bytes_total: int | None) -> None:
        self.calls.append(("queued", transfer_id, name, bytes_total))

    def on_progress(
        self, bytes_done: int, bytes_total: int | None, rate: float, eta: float | None
    ) -> None:
        self.calls.append(("progress", bytes_done, bytes_total, rate, eta))

    def on_done(self, result: Any) -> None:
        self.calls.append(("done", result))

    def on_error(self, error: Error) -> None:
        self.calls.append(("error", error))

    @property
    def counts(self) -> list[int]:
        return [call[1] for call in self.calls if call[0] == "progress"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def meter(heard: Heard, clock: Clock) -> Meter:
    return Meter((heard,), every_seconds=1, clock=clock)


def test_a_transfer_from_beginning_to_end(meter: Meter, heard: Heard, clock: Clock) -> None:
    meter.begin("id", "name", 400)
    for _ in range(4):
        clock.now += 1
        meter.add(100)
    meter.done("result", 400)
    assert heard.calls == [
        ("queued", "id", "name", 400),
        ("progress", 100, 400, 100.0, 3.0),
        ("progress", 200, 400, 100.0, 2.0),
        ("progress", 300, 400, 100.0, 1.0),
        ("progress", 400, 400, 100.0, 0.0),
        ("done", "result"),
    ]


def test_it_does_not_speak_too_often(meter: Meter, heard: Heard, clock: Clock) -> None:
    meter.begin("id", "name", 1000)
    for _ in range(100):
        clock.now += 0.05
        meter.add(10)
    meter.done("result", 1000)
    assert 4 <= len(heard.counts) <= 6
    assert heard.counts[-1] == 1000


def test_a_quick_transfer_is_told_of_once(meter: Meter, heard: Heard) -> None:
    meter.begin("id", "name", 10)
    meter.add(10)
    meter.done("result", 10)
    assert heard.counts == [10]


def test_an_empty_file_is_told_of_too(meter: Meter, heard: Heard) -> None:
    meter.begin("id", "name", 0)
    meter.done("result", 0)
    assert heard.calls[1][:3] == ("progress", 0, 0)


def test_what_is_repeated_is_not_counted_twice(meter: Meter, heard: Heard, clock: Clock) -> None:
    meter.begin("id", "name", 300)
    for count in (100, 100, -200, 100, 50, 100, 50):
        clock.now += 1
        meter.add(count)
    meter.done("result", 300)
    assert heard.counts == [100, 200, 250, 300]


def test_what_was_there_counts_for_the_sum_and_not_for_the_rate(
    meter: Meter, heard: Heard, clock: Clock
) -> None:
    meter.begin("id", "name", 1000, done=600)
    clock.now += 2
    meter.add(100)
    assert heard.calls[-1] == ("progress", 700, 1000, 50.0, 6.0)


def test_of_a_stream_the_last_report_has_the_length(
    meter: Meter, heard: Heard, clock: Clock
) -> None:
    meter.begin("id", "name", None)
    clock.now += 1
    meter.add(70)
    assert heard.calls[-1] == ("progress", 70, None, 70.0, None)
    meter.done("result", 70)
    assert heard.calls[-2][:3] == ("progress", 70, 70)


def test_what_others_carry(meter: Meter, heard: Heard, clock: Clock) -> None:
    meter.begin("id", "", None)
    for done in (10, 5, 30):
        clock.now += 1
        meter.reached(done, 40)
    assert heard.counts == [10, 30]


def test_a_failure_is_told(meter: Meter, heard: Heard) -> None:
    error = StorageUnavailable("away")
    meter.begin("id", "name", 10)
    meter.failed(error)
    assert heard.calls[-1] == ("error", error)


def test_one_that_raises_is_logged_once_and_the_others_hear_all(
    clock: Clock, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Heard):
        def on_progress(self, *arguments: Any) -> None:
            raise ZeroDivisionError

    broken = Broken()
    meter = Meter((broken, heard), every_seconds=1, clock=clock)
    meter.begin("id", "name", 3)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now += 1
            meter.add(1)
        meter.done("result", 3)
    assert heard.counts == [1, 2, 3]
    assert [record.message for record in caplog.records] == ["subscriber.failed"]
    assert broken.calls[-1] == ("done", "result"), "its other methods are called all the same"


def test_a_subscriber_may_stop_a_process(clock: Clock) -> None:
    class Interrupted(Heard):
        def on_progress(self, *arguments: Any) -> None:
            raise KeyboardInterrupt

    meter = Meter((Interrupted(),), every_seconds=0, clock=clock)
    meter.begin("id", "name", 1)
    with pytest.raises(KeyboardInterrupt):
        meter.add(1)


def test_threads_count_at_once_and_are_heard_in_order() -> None:
    class OneAtATime(Heard):
        def on_progress(self, *arguments: Any) -> None:
            assert busy.acquire(blocking=False), "called by two threads at once"
            super().on_progress(*arguments)
            busy.release()

    busy, heard = threading.Lock(), OneAtATime()
    meter = Meter((heard,), every_seconds=0)
    meter.begin("id", "name", 40_100)

    def count() -> None:
        for _ in range(1000):
            meter.add(20)
            meter.add(-10)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    meter.add(100)
    meter.done("result", 40_100)
    assert heard.counts == sorted(heard.counts)
    assert heard.counts[-1] == 40_100
    assert meter.total == 40_100
