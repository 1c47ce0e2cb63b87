"""The circuit breaker of Storage, several processes of a fleet on one Valkey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
from redis import Redis

from argosy.errors import Error, ObjectNotFound, SourceMissing, StorageUnavailable
from argosy.settings import FleetSettings
from argosy.storage import traits
from local.servers.valkey import Valkey
from tasks.breaker import AWAY, LONGEST_WAIT_SECONDS, REST, TURN, Away, Breaker

RATE = 20


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"), uuid4().hex, uuid4().hex)
    server.start()
    yield server
    server.stop()


class Storage:
    """Is there, or not; counts who looks."""

    def __init__(self) -> None:
        self.looks = 0
        self.error: Error | None = ObjectNotFound("It is not there.")

    def __call__(self) -> None:
        self.looks += 1
        if self.error:
            raise self.error


def _away(status: int = 503, code: str = "") -> Error:
    return traits.refused("put b/o", traits.Refusal(status, code))


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def join(valkey: Valkey, storage: Storage) -> Callable[[], Breaker]:
    """What each call gives is one more process of the fleet."""
    Redis.from_url(valkey.url(0)).flushdb()
    return lambda: Breaker(_settings(valkey.url(0)), storage)


def _settings(url: str) -> FleetSettings:
    return FleetSettings(
        supabase_url="http://localhost",
        supabase_anon_key="anon",
        broker_url="amqp://localhost",
        result_url=url,
        supabase_service_role_key="service",
        supabase_project_ref="local",
        supabase_jwt_secret="secret",
        spool="/spool",
        database_url="postgresql://localhost/x",
        recovery_per_second=RATE,
    )


def _lost(breaker: Breaker, storage: Storage) -> None:
    """Storage goes away, and this process is the first to notice."""
    storage.error = _away()
    with suppress(StorageUnavailable):
        breaker.heard(_away())


def _is_open(breaker: Breaker) -> bool:
    try:
        breaker.check()
    except Away:
        return True
    return False


def _rested(valkey: Valkey) -> None:
    """The time after a look is over."""
    Redis.from_url(valkey.url(0)).delete(REST)


def test_all_are_told_what_one_has_found(join: Callable[[], Breaker], storage: Storage) -> None:
    one, two = join(), join()
    assert not _is_open(one)
    _lost(one, storage)
    looks = storage.looks
    assert all(_is_open(breaker) for breaker in (one, two, join()) for _ in range(20))
    assert storage.looks == looks


def test_one_at_a_time_looks_whether_it_is_back(
    valkey: Valkey, join: Callable[[], Breaker], storage: Storage
) -> None:
    fleet = [join() for _ in range(8)]
    _lost(fleet[0], storage)
    for _ in range(3):
        looks = storage.looks
        _rested(valkey)
        with ThreadPoolExecutor(len(fleet)) as threads:
            assert all(threads.map(_is_open, fleet))
        assert storage.looks == looks + 1


def test_whoever_finds_it_back_lets_all_go_on(
    valkey: Valkey, join: Callable[[], Breaker], storage: Storage
) -> None:
    one, two = join(), join()
    _lost(one, storage)
    storage.error = None
    assert _is_open(two)
    _rested(valkey)
    assert not _is_open(two)
    assert not _is_open(one)


def test_an_answer_of_any_kind_says_that_it_is_there(
    valkey: Valkey, join: Callable[[], Breaker], storage: Storage
) -> None:
    one = join()
    for answer in (ObjectNotFound("no"), _away(429), _away(503, "SlowDown")):
        _lost(one, storage)
        storage.error = answer
        _rested(valkey)
        assert not _is_open(one)


def test_what_ails_one_object_keeps_nobody_away(
    join: Callable[[], Breaker], storage: Storage
) -> None:
    """Storage answers 500 for it each time, and is there for everybody else."""
    one = join()
    with one.watching():
        for _ in range(5):
            one.heard(_away(500))
    assert (storage.looks, _is_open(one)) == (5, False)


@pytest.mark.parametrize(
    "error", [_away(429), _away(408), _away(503, "SlowDown"), SourceMissing("gone")], ids=str
)
def test_what_does_not_say_that_it_is_away(
    join: Callable[[], Breaker], storage: Storage, error: Error
) -> None:
    storage.error = _away()
    one = join()
    with one.watching():
        one.heard(error)
    assert (storage.looks, _is_open(one)) == (0, False)


def test_a_request_gives_up_only_where_its_work_can_wait(
    join: Callable[[], Breaker], storage: Storage
) -> None:
    one, two = join(), join()
    storage.error = _away()
    one.heard(_away())
    two.heard(_away())
    error = _away()
    with two.watching(), pytest.raises(StorageUnavailable) as caught:
        two.heard(error)
    assert caught.value is error
    two.heard(_away())


def test_what_waits_comes_back_at_a_rate(join: Callable[[], Breaker], storage: Storage) -> None:
    one, two = join(), join()
    _lost(one, storage)
    waits = sorted(_wait(breaker) for _ in range(200) for breaker in (one, two))
    assert waits[0] >= 1
    spread = len(waits) / RATE
    assert spread / 2 < waits[-1] < 2 * spread + 10
    busiest = max(sum(1 for wait in waits if at <= wait < at + 1) for at in range(60))
    assert busiest < 3 * RATE


def _wait(breaker: Breaker) -> float:
    with pytest.raises(Away) as caught:
        breaker.check()
    return caught.value.wait


def test_nothing_waits_for_ever(
    valkey: Valkey, join: Callable[[], Breaker], storage: Storage
) -> None:
    one = join()
    _lost(one, storage)
    Redis.from_url(valkey.url(0)).set(TURN, "99999999999")
    assert _wait(one) < 2 * LONGEST_WAIT_SECONDS


def test_a_fleet_that_nobody_asks_anything_of_forgets_it(
    valkey: Valkey, join: Callable[[], Breaker], storage: Storage
) -> None:
    one = join()
    _lost(one, storage)
    keys = Redis.from_url(valkey.url(0))
    assert all(0 < keys.pttl(key) <= 600_000 for key in (AWAY, REST))
    keys.delete(AWAY)
    assert not _is_open(one)


def test_without_valkey_there_is_no_breaker(tmp_path: Path, storage: Storage) -> None:
    blind = Breaker(_settings("redis://127.0.0.1:1/0"), storage)
    storage.error = _away()
    assert not _is_open(blind)
    with blind.watching():
        blind.heard(_away())  # it is repeated, as long as may be
    assert not _is_open(blind)
