from __future__ import annotations

import pytest

from argosy.errors import Error, StorageRefused, StorageUnavailable
from argosy.storage.retry import Budget, RetryPolicy


def test_pauses_grow_at_random_up_to_the_cap() -> None:
    policy = RetryPolicy(base_seconds=1, cap_seconds=5)
    for failures, ceiling in [(1, 1), (2, 2), (3, 4), (4, 5), (50, 5)]:
        pauses = [policy.pause(failures, None) for _ in range(200)]
        assert 0 <= min(pauses) < ceiling / 3
        assert ceiling * 2 / 3 < max(pauses) <= ceiling


def test_the_server_may_ask_for_more_up_to_the_cap() -> None:
    policy = RetryPolicy(base_seconds=0.1, cap_seconds=5)
    assert policy.pause(1, 3.0) == 3.0
    assert policy.pause(1, 3600.0) == 5.0


def test_the_deadline_counts_from_the_first_failure() -> None:
    slept: list[float] = []
    policy = RetryPolicy(attempts=100, cap_seconds=10, deadline_seconds=5, sleep=slept.append)
    with pytest.raises(StorageUnavailable):
        Budget(policy).spend(StorageUnavailable("busy", None, 6.0))
    assert slept == []


def test_only_the_retryable_is_repeated() -> None:
    calls: list[int] = []

    def attempt() -> None:
        calls.append(1)
        raise StorageRefused("no")

    with pytest.raises(StorageRefused):
        RetryPolicy(sleep=lambda _: None).run(attempt)
    assert calls == [1]


def test_others_hear_of_a_retry() -> None:
    heard: list[tuple[Error, float]] = []
    outcomes = iter([StorageUnavailable("busy"), None])

    def attempt() -> str:
        if error := next(outcomes):
            raise error
        return "done"

    policy = RetryPolicy(sleep=lambda _: None, on_retry=lambda *what: heard.append(what))
    assert policy.run(attempt) == "done"
    assert [str(error) for error, _ in heard] == ["busy [storage_unavailable]"]
