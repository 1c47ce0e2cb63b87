"""The fleet's books as Prometheus reads them: looked up in the database at each scrape.

Labels have few values, whatever the books hold: names of the code, of buckets, and of the agents
that take up the most. What a worker counts itself is in `tasks/measures.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from argosy.settings import FleetSettings
from models import ENDED, Chunk, ChunkState, DeadLetter, Heartbeat, Kind, Priority, State, Transfer
from models.database import make_engine, make_sessions
from models.rounds import latest
from models.transfer import LIVE, RUNNING, WAITING
from worker.families import MOST
from worker.looks import look
from worker.storage_sign import StorageSign
from worker.totals import totals
from worker.usage import AgentsUsage

log = structlog.get_logger(__name__)

ROUNDS = ("reconcile", "sweep", "forget")
"""Rounds that are told of."""
SCRAPE_LIMIT = "5s"
"""How long one question of a scrape may take."""
_LIVE = [state for state in State if state not in ENDED]


Read = Callable[[Session], Iterator[Metric]]


class Books(Collector):
    """The metrics of one database; a scrape while it is away says `argosy_up 0`, and no more."""

    def __init__(self, settings: FleetSettings) -> None:
        self._engine = make_engine(settings.database_url)
        self._sessions = make_sessions(self._engine)
        self._storage = StorageSign(settings)
        self._reads: tuple[Read, ...] = (*READS, AgentsUsage(settings))

    def close(self) -> None:
        """Let go of the database, and of Valkey."""
        self._engine.dispose()
        self._storage.close()

    def describe(self) -> Iterator[Metric]:
        """Nothing: what is there is known at a scrape."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        try:
            with self._sessions.begin() as session:
                session.execute(text(f"SET LOCAL statement_timeout = '{SCRAPE_LIMIT}'"))
                found = [metric for read in self._reads for metric in read(session)]
        except SQLAlchemyError as error:
            log.warning("metrics.away", error=type(error).__name__)
            found = []
        yield look("up", {(): bool(found)})
        yield from found
        yield from self._storage.collect()


def rounds(session: Session) -> Iterator[Metric]:
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
    yield look("round_count", counted)
    yield look("round_ended_timestamp_seconds", ended)
    yield look("round_duration_seconds", lasted)


def _numbers(counts: dict[str, Any] | None) -> Iterator[tuple[str, float]]:
    for what, count in (counts or {}).items():
        if isinstance(count, int | float):
            yield what, count


def heartbeats(session: Session) -> Iterator[Metric]:
    """How long ago each periodic task last ran; beat's last tick is that of `resume`."""
    age = func.extract("epoch", func.now() - Heartbeat.at)
    rows = session.execute(select(Heartbeat.name, age).order_by(Heartbeat.name).limit(MOST))
    ages = {(name,): float(seconds) for name, seconds in rows}
    yield look("heartbeat_age_seconds", ages)


def transfers(session: Session) -> Iterator[Metric]:
    """Those on their way, by partial indexes: the ended ones are never read."""
    by = (Transfer.state, Transfer.kind)
    query = select(*by, func.count()).where(text(LIVE)).group_by(*by)
    live: dict[tuple[str, ...], int] = {(state, kind): 0 for state in _LIVE for kind in Kind}
    live |= {(state, kind): many for state, kind, many in session.execute(query)}
    yield look("transfers", live)
    running = select(func.count()).select_from(Transfer).where(text(RUNNING))
    yield look("transfers_running", {(): session.scalar(running) or 0})
    yield from _waiting(session)
    yield from _stalest(session)


def _stalest(session: Session) -> Iterator[Metric]:
    """What is carried, and how long the one of it has not got on that has not for longest."""
    got_on = func.greatest(Transfer.admitted_at, Transfer.started_at, Transfer.progress_at)
    since = func.extract("epoch", func.now() - func.min(got_on))
    seconds = session.scalar(select(since).where(text(RUNNING)))
    yield look("stalest_transfer_seconds", {(): float(seconds or 0)})


def chunks(session: Session) -> Iterator[Metric]:
    """What of the windows is in use, by an index that holds nothing else."""
    on_their_way = Chunk.state.in_((ChunkState.QUEUED, ChunkState.MOVING))
    query = select(Chunk.state, func.count()).where(on_their_way).group_by(Chunk.state)
    none: dict[tuple[str, ...], float] = {("queued",): 0, ("moving",): 0}
    found = none | {(state,): many for state, many in session.execute(query)}
    yield look("window_chunks", found)


def _waiting(session: Session) -> Iterator[Metric]:
    since = func.extract("epoch", func.now() - func.min(Transfer.created_at))
    query = select(Transfer.priority, func.count(), since).where(text(WAITING))
    rows = session.execute(query.group_by(Transfer.priority)).all()
    none: dict[tuple[str, ...], float] = {(priority,): 0 for priority in Priority}
    counted = none | {(priority,): many for priority, many, _ in rows}
    oldest = none | {(priority,): float(seconds) for priority, _, seconds in rows}
    yield look("transfers_waiting", counted)
    yield look("oldest_waiting_seconds", oldest)


def dead_letters(session: Session) -> Iterator[Metric]:
    """Messages that the broker gave up in the last 24 hours."""
    query = select(DeadLetter.reason, func.count()).group_by(DeadLetter.reason)
    rows = session.execute(query.where(DeadLetter.at > func.now() - timedelta(days=1)))
    found = {(reason,): many for reason, many in rows}
    yield look("dead_letters_day", found)


READS: tuple[Read, ...] = (
    rounds,
    heartbeats,
    transfers,
    chunks,
    dead_letters,
    totals,
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
