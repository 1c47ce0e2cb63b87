"""Every alert fires when its reason is there, and clears when it is not.

The rules are the deployed ones; only how long they wait and look back is shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import yaml
from redis import Redis

from models import DeadLetter
from tasks.breaker import AWAY
from tests.conftest import Sender
from tests.deployment import until
from tests.integration.test_metrics import _transfer
from tests.monitoring.servers import RULES
from tests.monitoring.watched import Watched

SECONDS = 45
Reason = Callable[[Watched], Any]
REASONS: dict[str, Reason] = {}


def reason(alert: str) -> Callable[[Callable[[Watched], Iterator[None]]], Reason]:
    """Register what causes an alert."""

    def register(cause: Callable[[Watched], Iterator[None]]) -> Reason:
        REASONS[alert] = contextmanager(cause)
        return REASONS[alert]

    return register


def change(watched: Watched, sql: str, **parameters: Any) -> None:
    watched.deployment.query(f"{sql} RETURNING 1", **parameters)


@reason("ArgosyDatabaseAway")
def _(watched: Watched) -> Iterator[None]:
    postgres = watched.deployment.stack_of("postgres")
    postgres.stop()
    yield
    postgres.start()


@reason("ArgosyMetricsAway")
def _(watched: Watched) -> Iterator[None]:
    watched.books.stop()
    yield
    watched.books.start()


@reason("ArgosyBrokerAway")
def _(watched: Watched) -> Iterator[None]:
    watched.rabbitmq.kill()
    yield
    watched.rabbitmq.start()


@reason("ArgosyStorageAway")
def _(watched: Watched) -> Iterator[None]:
    """A worker finds it away, and another finds it back."""
    supabase = watched.deployment.stack_of("supabase")
    sender, name = watched.sender, f"away-{uuid4().hex}"  # it signs in first
    supabase.stop()
    result = sender.upload(watched.deployment.make_file(name, 1000))
    keys = Redis.from_url(watched.deployment.environment["RESULT_URL"])
    until(lambda: keys.exists(AWAY), 60, what="a worker to find Storage away")
    yield
    supabase.start()
    result.get(timeout=90)


@reason("ArgosyWorkersGone")
def _(watched: Watched) -> Iterator[None]:
    watched.worker.kill()
    yield
    watched.worker.start()


@reason("ArgosyBeatDead")
def _(watched: Watched) -> Iterator[None]:
    watched.beat.kill()
    sql = "UPDATE argosy.heartbeats SET at = now() - interval '10 minutes' WHERE name = 'resume'"

    def dead() -> bool:  # a tick of its may still be on its way
        change(watched, sql)
        return "ArgosyBeatDead" in watched.prometheus.firing()

    until(dead, SECONDS)
    yield
    watched.beat.start()


@contextmanager
def _row(watched: Watched, **columns: Any) -> Iterator[None]:
    """A transfer that only the books know, under an agent that nobody else uses."""
    owner = watched.deployment.add_agent()
    made = _transfer(owner, **columns)
    watched.deployment.transact(lambda session: session.add(made))
    yield
    change(watched, "DELETE FROM argosy.transfers WHERE id = :id", id=made.id)


@reason("ArgosyTransfersStuck")
def _(watched: Watched) -> Iterator[None]:
    """It is moving, as far as the books know, and it has no chunk that anybody could move."""
    ago = _ago(hours=1)
    columns = {"admitted_at": ago, "started_at": ago, "created_at": ago, "size": 1}
    with _row(watched, state="moving", chunks_left=1, part_count=1, **columns):
        yield


@reason("ArgosyTransfersWait")
def _(watched: Watched) -> Iterator[None]:
    """The fleet is full of transfers that are planned and no one's; another one waits."""
    watched.beat.stop()  # it would give it its turn
    with _row(watched, created_at=_ago(hours=2), priority="normal"):
        yield
    watched.beat.start()


@reason("ArgosyTransfersFail")
def _(watched: Watched) -> Iterator[None]:
    nowhere = [watched.deployment.spool / f"not there {number}" for number in range(6)]
    for result in [watched.sender.upload(path) for path in nowhere]:
        result.get(timeout=60, propagate=False)
    yield


@reason("ArgosyDeadLetters")
def _(watched: Watched) -> Iterator[None]:
    letter = DeadLetter(fingerprint=uuid4().hex, queue="argosy.chunks", reason="delivery_limit")
    watched.deployment.transact(lambda session: session.add(letter))
    yield
    change(
        watched,
        "UPDATE argosy.dead_letters SET at = now() - interval '25 hours' WHERE fingerprint = :it",
        it=letter.fingerprint,
    )


@reason("ArgosyLeasesExpire")
def _(watched: Watched) -> Iterator[None]:
    """A worker that is gone without a word holds more chunks than any is lost with by chance."""
    watched.deployment.query("SELECT 1")
    with _row(
        watched, state="moving", chunks_left=60, part_count=60, size=60, started_at=_ago(hours=0)
    ):
        change(
            watched,
            'INSERT INTO argosy.chunks (transfer_id, number, "offset", length, state, epoch,'
            " lease_until, republish_at) SELECT t.id, n, n - 1, 1, 'moving', 1, now() - interval"
            " '1 s', now() - interval '1 s' FROM argosy.transfers t, generate_series(1, 60) n"
            " WHERE t.part_count = 60",
        )
        yield


@reason("ArgosyStorageNearQuota")
def _(watched: Watched) -> Iterator[None]:
    owner = watched.deployment.add_agent()
    sender = Sender(owner)
    sender.upload(watched.deployment.make_file(f"{uuid4().hex}", 95_000)).get(timeout=60)
    watched.deployment.run("agents", "limit", owner.name, "--stored", "100kB")
    watched.look_anew()
    yield
    watched.deployment.run("agents", "limit", owner.name, "--stored", "1MB")
    watched.look_anew()


@reason("ArgosyBooksDiffer")
def _(watched: Watched) -> Iterator[None]:
    """An object is gone behind the books' back; a reconciliation finds that, and then its end."""
    reference = watched.sender.upload(watched.deployment.make_file(f"{uuid4().hex}", 1000)).get(
        timeout=60
    )
    old = "UPDATE argosy.transfers SET ended_at = now() - interval '2 days' WHERE id = :id"
    change(watched, old, id=reference["id"])
    watched.remove_object(reference)
    yield
    change(watched, "DELETE FROM argosy.transfers WHERE id = :id", id=reference["id"])


@reason("ArgosySweepLate")
def _(watched: Watched) -> Iterator[None]:
    watched.beat.stop()
    change(
        watched,
        "UPDATE argosy.rounds SET started_at = started_at - interval '5 hours',"
        " ended_at = ended_at - interval '5 hours' WHERE name = 'sweep'",
    )
    yield
    watched.beat.start()


def _ago(hours: float) -> Any:
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC) - timedelta(hours=hours)


def alerts() -> list[str]:
    document = yaml.safe_load(RULES.read_text())
    return [rule["alert"] for group in document["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("alert", alerts())
def test_it_fires_and_clears(watched: Watched, alert: str) -> None:
    watched.deployment.app.set_current()

    def fires() -> bool:
        return alert in watched.prometheus.firing()

    until(lambda: not fires(), SECONDS, what=f"{alert} to be off at first")
    with REASONS[alert](watched):
        until(fires, SECONDS, what=f"{alert} to fire")
    until(lambda: not fires(), 2 * SECONDS, what=f"{alert} to clear")
    until(watched.all_up, 60, what="everything to be scraped again")
