"""Whether a worker could do anything here: is what it needs there, and does beat tick?

Asked every few seconds, for each worker: so nothing heavy is imported, and each server is asked
one small question. The questions are put at once, and what has not answered in time is unwell.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial

import httpx
import psycopg
from kombu import Connection

from argosy.settings import FleetSettings
from worker import revisions
from worker.finding import Finding, Unwell

QUEUES = (
    "argosy.requests",
    "argosy.control",
    *(f"argosy.requests.aside.{number}" for number in range(4)),
    "argosy.chunks.urgent",
    "argosy.chunks",
    "argosy.chunks.bulk",
    "argosy.finish",
    "argosy.media",
    "argosy.upkeep",
    "argosy.dead",
)
"""Names of the fleet's queues: those of `worker.queues`, which costs a second to import."""
OF_A_SPOOL = ("argosy.chunks.urgent", "argosy.chunks", "argosy.chunks.bulk", "argosy.finish")
"""Those that each spool with a name has too, with `@` and its name."""
MISSED_BEATS = 4
"""Beat is taken for dead after so many of its ticks."""
LAST_TICK = "SELECT extract(epoch FROM now() - at) FROM argosy.heartbeats WHERE name = 'resume'"
"""SQL: seconds since beat's last tick was done."""

Check = Callable[[FleetSettings, float], str]
"""Asks one thing, within so many seconds; raises Unwell, or what the driver raises."""


def examine_readiness(settings: FleetSettings, seconds: float) -> list[Finding]:
    """Every check, at once, within `seconds`."""
    asked = [_Asked(what, partial(check, settings, seconds)) for what, check in CHECKS.items()]
    end = time.monotonic() + seconds
    for one in asked:
        one.start()
    return [one.answer(end, seconds) for one in asked]


class _Asked(threading.Thread):
    """One check on its way; a daemon, so that one that hangs keeps nobody."""

    def __init__(self, what: str, check: Callable[[], str]) -> None:
        super().__init__(name=what, daemon=True)
        self._check = check
        self._found: Finding | None = None

    def run(self) -> None:
        try:
            self._found = Finding(self.name, well=True, said=self._check())
        except Unwell as found:
            self._found = Finding(self.name, well=False, said=found.said, advice=found.advice)
        except Exception as error:  # whatever a driver raises, it is not ready
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            self._found = Finding(self.name, well=False, said=said)

    def answer(self, end: float, seconds: float) -> Finding:
        """What was found; that it hangs, where nothing was found in time."""
        self.join(max(0.0, end - time.monotonic()))
        late = Finding(self.name, well=False, said=f"no answer within {seconds:g} s")
        return self._found or late


def _broker(settings: FleetSettings, seconds: float) -> str:
    waiting = waiting_messages(settings, queue_names(settings), seconds)
    return f"{len(waiting)} queues, {sum(waiting.values())} messages wait"


def queue_names(settings: FleetSettings) -> list[str]:
    """Every queue that this fleet has."""
    return [*QUEUES, *(f"{name}@{spool}" for spool in settings.spools for name in OF_A_SPOOL)]


def waiting_messages(
    settings: FleetSettings, queues: Iterable[str], seconds: float
) -> dict[str, int]:
    """How many messages wait in each queue. Raises Unwell where one is not there."""
    waiting = {}
    with Connection(settings.broker_url, connect_timeout=seconds) as connection:
        if not settings.broker_url.startswith("amqp"):
            connection.ensure_connection(max_retries=1)
            return {}
        for name in queues:
            try:
                declared = connection.default_channel.queue_declare(name, passive=True)
            except connection.channel_errors as error:
                raise Unwell(f"queue {name} is not there", "start `argosy worker`") from error
            waiting[name] = declared.message_count
    return waiting


def _database(settings: FleetSettings, seconds: float) -> str:
    with _connected(settings, seconds) as connection:
        if connection.execute("SELECT to_regclass('argosy.alembic_version')").fetchone() == (None,):
            return revisions.judge(None, None)
        [found, told] = connection.execute(revisions.FOUND).fetchone() or (None, None)
    return revisions.judge(found, told)


def _beat(settings: FleetSettings, seconds: float) -> str:
    with _connected(settings, seconds) as connection:
        row = connection.execute(LAST_TICK).fetchone()
    return judge_beat(float(row[0]) if row else None, settings)


def judge_beat(age: float | None, settings: FleetSettings) -> str:
    """Say when beat last ticked. Raises Unwell where that is too long ago."""
    if age is None or age > MISSED_BEATS * settings.resume_seconds:
        last = "has never run" if age is None else f"last ran {age:.0f} s ago"
        raise Unwell(
            f"transfer.resume {last}, not every {settings.resume_seconds:g} s",
            "start `argosy beat`, and a worker that reads argosy.upkeep",
        )
    return f"transfer.resume ran {age:.0f} s ago"


def _connected(settings: FleetSettings, seconds: float) -> psycopg.Connection:
    return psycopg.connect(
        settings.database_url,
        connect_timeout=max(2, round(seconds)),
        prepare_threshold=None,
        application_name="argosy ready",
    )


def _storage(settings: FleetSettings, seconds: float) -> str:
    key = settings.supabase_service_role_key.get_secret_value()
    answer = httpx.get(
        f"{settings.supabase_url}/storage/v1/bucket/{settings.bucket}",
        headers={"apikey": key, "authorization": f"Bearer {key}"},
        timeout=seconds,
    )
    if answer.is_success:
        return f"answers for bucket {settings.bucket}"
    raise Unwell(f"Storage answers HTTP {answer.status_code}", "look at SUPABASE_URL and its log")


CHECKS: dict[str, Check] = {
    "broker": _broker,
    "database": _database,
    "storage": _storage,
    "beat": _beat,
}
