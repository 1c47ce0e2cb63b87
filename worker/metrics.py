"""The fleet's books as Prometheus reads them: looked up in the database at each scrape.

Labels have few values, whatever the books hold: names of the code, never of agents or files. What
a worker counts in its own memory is no part of this.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from argosy.settings import FleetSettings
from models import ENDED, DeadLetter, Heartbeat, Kind, Priority, State, Transfer
from models.database import make_engine, make_sessions
from models.rounds import latest
from models.transfer import LIVE, RUNNING, WAITING

log = structlog.get_logger(__name__)

ROUNDS = ("reconcile", "sweep")
"""Rounds that are told of."""
MOST = 50
"""Values of one label at most."""
SCRAPE_LIMIT = "5s"
"""How long one question of a scrape may take."""
_LIVE = [state for state in State if state not in ENDED]


class Books(Collector):
    """The metrics of one database; a scrape while it is away says `argosy_up 0`, and no more."""

    def __init__(self, settings: FleetSettings) -> None:
        self._engine = make_engine(settings.database_url)
        self._sessions = make_sessions(self._engine)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing: what is there is known at a scrape."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Everything, as it is now."""
        try:
            with self._sessions.begin() as session:
                session.execute(text(f"SET LOCAL statement_timeout = '{SCRAPE_LIMIT}'"))
                found = [metric for read in READS for metric in read(session)]
        except SQLAlchemyError as error:
            log.warning("metrics.away", error=type(error).__name__)
            found = []
        yield _gauge("up", "Whether the database answered this scrape.", {(): bool(found)})
        yield from found


def _gauge(name: str, help_: str, values: Mapping[Any, float], *labels: str) -> GaugeMetricFamily:
    """`values` by a tuple of the labels' values, in their order."""
    family = GaugeMetricFamily(f"argosy_{name}", help_, labels=labels)
    for told, value in sorted(values.items())[:MOST]:
        family.add_metric(told, float(value))
    return family


def _one(name: str, help_: str, value: float | None) -> Iterator[GaugeMetricFamily]:
    """A metric without labels; none where there is nothing to say."""
    if value is not None:
        yield _gauge(name, help_, {(): value})


def rounds(session: Session) -> Iterator[GaugeMetricFamily]:
    """What the last round of each kind that came to its end has counted."""
    counted: dict[tuple[str, ...], float] = {}
    ended: dict[tuple[str, ...], float] = {}
    lasted: dict[tuple[str, ...], float] = {}
    for name in ROUNDS:
        one = latest(session, name)
        if one is not None and one.ended_at is not None:
            ended[(name,)] = one.ended_at.timestamp()
            lasted[(name,)] = (one.ended_at - one.started_at).total_seconds()
            counted |= {(name, what): count for what, count in _numbers(one.counts)}
    yield _gauge("round_count", "What the last round has counted.", counted, "round", "what")
    yield _gauge("round_ended_timestamp_seconds", "When the last round ended.", ended, "round")
    yield _gauge("round_duration_seconds", "How long the last round took.", lasted, "round")


def _numbers(counts: dict[str, Any] | None) -> Iterator[tuple[str, float]]:
    for what, count in (counts or {}).items():
        if isinstance(count, int | float):
            yield what, count


def heartbeats(session: Session) -> Iterator[GaugeMetricFamily]:
    """How long ago each periodic task last ran; beat's last tick is that of `resume`."""
    age = func.extract("epoch", func.now() - Heartbeat.at)
    rows = session.execute(select(Heartbeat.name, age).order_by(Heartbeat.name).limit(MOST))
    ages = {(name,): float(seconds) for name, seconds in rows}
    yield _gauge("heartbeat_age_seconds", "Since a periodic task last ran.", ages, "name")


def transfers(session: Session) -> Iterator[GaugeMetricFamily]:
    """Those on their way, by partial indexes: the ended ones are never read."""
    by = (Transfer.state, Transfer.kind)
    query = select(*by, func.count()).where(text(LIVE)).group_by(*by)
    live: dict[tuple[str, ...], int] = {(state, kind): 0 for state in _LIVE for kind in Kind}
    live |= {(state, kind): many for state, kind, many in session.execute(query)}
    yield _gauge("transfers", "Transfers that have not ended.", live, "state", "kind")
    running = select(func.count()).select_from(Transfer).where(text(RUNNING))
    yield from _one("transfers_running", "Transfers that have a slot.", session.scalar(running))
    yield from _waiting(session)


def _waiting(session: Session) -> Iterator[GaugeMetricFamily]:
    since = func.extract("epoch", func.now() - func.min(Transfer.created_at))
    query = select(Transfer.priority, func.count(), since).where(text(WAITING))
    rows = session.execute(query.group_by(Transfer.priority)).all()
    none: dict[tuple[str, ...], float] = {(priority,): 0 for priority in Priority}
    counted = none | {(priority,): many for priority, many, _ in rows}
    oldest = none | {(priority,): float(seconds) for priority, _, seconds in rows}
    yield _gauge("transfers_waiting", "Transfers that wait for a slot.", counted, "priority")
    yield _gauge("oldest_waiting_seconds", "How long the first has waited.", oldest, "priority")


def dead_letters(session: Session) -> Iterator[GaugeMetricFamily]:
    """Messages that the broker gave up in the last 24 hours."""
    query = select(DeadLetter.reason, func.count()).group_by(DeadLetter.reason)
    rows = session.execute(query.where(DeadLetter.at > func.now() - timedelta(days=1)))
    found = {(reason,): many for reason, many in rows}
    yield _gauge("dead_letters_day", "Dead letters of the last 24 hours.", found, "reason")


READS: tuple[Callable[[Session], Iterator[GaugeMetricFamily]], ...] = (
    rounds,
    heartbeats,
    transfers,
    dead_letters,
)


def registry(settings: FleetSettings) -> CollectorRegistry:
    """What is told at a scrape."""
    made = CollectorRegistry()
    made.register(Books(settings))
    return made


def exposition(settings: FleetSettings) -> str:
    """One scrape, as text."""
    return generate_latest(registry(settings)).decode()


def serve(settings: FleetSettings, address: str, port: int) -> tuple[int, threading.Thread]:
    """Answer scrapes in a thread; returns the port (0 was any), and the thread."""
    server, thread = start_http_server(port, address, registry(settings))
    return server.server_port, thread
