"""Schema `argosy`, the policies and the fleet's own role: brought up in one transaction."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psycopg
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import InternalError, OperationalError

from alembic import command
from argosy.settings import FleetSettings
from models.database import make_engine
from worker import logins, revisions
from worker.catalog import changes, look
from worker.unready import DatabaseUnready

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = ROOT / "deploy" / "supabase"
LOCK = 0x4152474F5359424F  # "ARGOSYBO": one at a time, however many machines deploy
LOCK_WAIT = "60s"
"""How long another deploy is waited for."""
TABLE_WAIT = "5s"
"""Who waits for a table's lock makes everybody wait behind them: give up early."""
TRIES = 8
"""So often a table that is busy is tried; between two tries everybody else has their turn."""
PAUSE_SECONDS = 3.0
"""Before the next try, with jitter."""

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


def migrate(settings: FleetSettings, revision: str) -> None:
    """Go to another revision of the schema, up or down.

    What deploy/supabase brings is as it was, or as the older revision has it,
    until the next bring_up; its views are gone until then. Raises DatabaseUnready.
    """
    with _engine(settings) as engine:
        _until_free(engine, lambda: _migrate(engine, revision))


def _migrate(engine: Engine, revision: str) -> None:
    with _alone(engine) as connection:
        before = _revision(connection)
        if before != (_scripts().get_current_head() if revision == "head" else revision):
            _drop_views(connection)
        go = command.downgrade if _is_older(revision, before) else command.upgrade
        try:
            go(_config(connection), revision)
        except CommandError as error:
            raise DatabaseUnready(f"{str(error).rstrip('.')}.") from None
        _tell_oldest_code(connection)
        if (after := _revision(connection)) != before:
            _record(connection, "project.migrated", {"from": before, "to": after})
        connection.commit()


def bring_up(
    settings: FleetSettings, buckets: dict[str, float | None], *, dry_run: bool
) -> list[str]:
    """Make the database as this version of the fleet needs it; returns what changed.

    All or nothing, and safe to repeat. With `dry_run` it is done and undone: what
    is returned would change. `buckets` are the fleet's, with the days a file stays.
    Raises DatabaseUnready.
    """
    with _engine(settings) as engine:
        return _until_free(engine, lambda: _bring_up(engine, settings, buckets, dry_run=dry_run))


def _bring_up(
    engine: Engine, settings: FleetSettings, buckets: dict[str, float | None], *, dry_run: bool
) -> list[str]:
    own = logins.login_of(settings.operator_url, settings)
    alone = logins.login_of(settings.database_url, settings) == own
    with _alone(engine) as connection:
        gets_in = alone or logins.gets_in(settings)  # before a table is locked
        before = look(connection, settings)
        _prepare(connection)
        told = [] if alone else logins.let_in(connection, settings, gets_in=gets_in)
        _enter_buckets(connection, buckets)
        _enter_history(connection, settings.history_days)
        changed = [*changes(before, look(connection, settings)), *told]
        if dry_run:
            connection.rollback()
        else:
            _record(connection, "project.bootstrapped", {"changed": changed} if changed else None)
            connection.commit()
        return changed


def behind(settings: FleetSettings) -> str | None:
    """The database's revision where it is not this version's; `none` where it has none.

    Raises DatabaseUnready when this version does not know it.
    """
    with _engine(settings) as engine, engine.connect() as connection:
        found = _revision(connection)
    return None if found == _scripts().get_current_head() else found or "none"


def _prepare(connection: Connection) -> None:
    if _revision(connection) != _scripts().get_current_head():  # raises where it is newer than this
        _drop_views(connection)
    command.upgrade(_config(connection), "head")
    _tell_oldest_code(connection)
    for script in sorted(SCRIPTS.glob("*.sql")):
        connection.exec_driver_sql(script.read_text(), execution_options={"no_parameters": True})


@contextmanager
def _engine(settings: FleetSettings) -> Iterator[Engine]:
    engine = make_engine(settings.operator_url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction of which there is one at a time, in which names mean the same for everybody."""
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL search_path = pg_catalog, pg_temp"))
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
        try:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        except OperationalError as error:
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                raise
            connection.rollback()
            raise DatabaseUnready(_who_holds_it(connection)) from None
        connection.execute(text(f"SET LOCAL lock_timeout = '{TABLE_WAIT}'"))
        yield connection


def _until_free(engine: Engine, work: Callable[[], Answer]) -> Answer:
    """Do one transaction that locks tables; again, when one of them was busy for too long.

    Raises DatabaseUnready when it still is after TRIES.
    """
    for left in reversed(range(TRIES)):
        try:
            return work()
        except OperationalError as error:
            if not isinstance(error.orig, _BUSY):
                raise
            why = _who_is_busy(engine)
        if left:
            log.warning("%s Trying again, at most %d times.", why, left)
            time.sleep(PAUSE_SECONDS * random.uniform(0.5, 1))  # noqa: S311  jitter, no secret
    raise DatabaseUnready(f"{why} Nothing was changed. Try again when there is less to do.")


_BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


def _who_is_busy(engine: Engine) -> str:
    """The oldest transaction that holds a table which is to be changed."""
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT l.relation::regclass, a.pid, a.usename, "
                "coalesce(host(a.client_addr), 'the server itself'), a.xact_start "
                "FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                "JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = "
                "c.relnamespace WHERE l.granted AND c.relkind = 'r' "
                "AND n.nspname IN ('argosy', 'storage') AND a.pid <> pg_backend_pid() "
                "ORDER BY a.xact_start LIMIT 1"
            )
        ).first()
    if found is None:
        return "A table was busy for too long."
    table, pid, user, host, since = found
    return (
        f"Table {table} is busy: process {pid} of {user} from {host} has held it "
        f"since {since:%Y-%m-%d %H:%M:%S} UTC."
    )


def _who_holds_it(connection: Connection) -> str:
    found = connection.execute(
        text(
            "SELECT a.pid, a.usename, coalesce(host(a.client_addr), 'the server itself'), "
            "a.xact_start FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
            "WHERE l.locktype = 'advisory' AND l.granted "
            "AND ((l.classid::bigint << 32) | l.objid::bigint) = :lock"
        ),
        {"lock": LOCK},
    ).first()
    if found is None:
        return "Another command has held the database's lock for long: try again."
    pid, user, host, since = found
    return (
        f"Another `argosy bootstrap` or `migrate` is at work: process {pid} of {user} from {host}"
        f"{f', since {since:%Y-%m-%d %H:%M:%S} UTC' if since else ''}. Where it hangs, "
        f"SELECT pg_terminate_backend({pid}) ends it."
    )


def _config(connection: Connection | None = None) -> Config:
    config = Config(toml_file=str(ROOT / "pyproject.toml"))
    config.attributes["connection"] = connection
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _revision(connection: Connection) -> str | None:
    """The database's. Raises DatabaseUnready when this version does not know it."""
    if not connection.scalar(text("SELECT to_regclass('argosy.alembic_version')")):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM argosy.alembic_version"))
    if found and found not in {one.revision for one in _scripts().walk_revisions()}:
        raise DatabaseUnready(
            f"The database is at revision {found}, which this version of Argosy does not know: "
            "run the version that brought it there, or a newer one."
        )
    return found


def _drop_views(connection: Connection) -> None:
    """No migration can change a column that a view has; deploy/supabase brings them back.

    Raises DatabaseUnready for what somebody else has made of them: it would be gone for good.
    """
    query = "SELECT relname FROM pg_class WHERE relkind = 'v' AND relnamespace = "
    schema = "to_regnamespace('argosy') ORDER BY relname"
    names = [f"argosy.{name}" for name in connection.scalars(text(query + schema))]
    if not names:
        return
    try:
        with connection.begin_nested():
            connection.execute(text(f"DROP VIEW {', '.join(names)}"))
    except InternalError as error:
        if not isinstance(error.orig, psycopg.errors.DependentObjectsStillExist):
            raise
        raise DatabaseUnready(
            f"Something of yours is built on the views of schema argosy, which this version makes "
            f"anew: drop it, and make it again afterwards. {error.orig.diag.message_detail}."
        ) from None


def _tell_oldest_code(connection: Connection) -> None:
    """Leave a word for versions of the code that do not know this revision yet."""
    if not (found := _revision(connection)):
        return
    migration = _scripts().get_revision(found).module
    told = revisions.comment(getattr(migration, "OLDEST_CODE", found))
    query = "SELECT obj_description('argosy.alembic_version'::regclass)"
    if connection.scalar(text(query)) != told:
        connection.execute(text(f"COMMENT ON TABLE argosy.alembic_version IS '{told}'"))


def _is_older(revision: str, than: str | None) -> bool:
    if revision == "base" or revision.startswith("-"):
        return True
    line = [one.revision for one in _scripts().walk_revisions()]  # the newest first
    return than in line and revision in line[line.index(than) + 1 :]


def _record(connection: Connection, name: str, detail: dict[str, object] | None) -> None:
    """To the audit, in the transaction that it is about."""
    if detail and connection.scalar(text("SELECT to_regclass('argosy.events')")):
        query = text("INSERT INTO argosy.events (name, detail) VALUES (:name, CAST(:it AS jsonb))")
        connection.execute(query, {"name": name, "it": json.dumps(detail)})


def _enter_buckets(connection: Connection, buckets: dict[str, float | None]) -> None:
    connection.execute(
        text(
            "INSERT INTO argosy.buckets (name, retention_days) VALUES (:name, :days) "
            "ON CONFLICT (name) DO UPDATE SET retention_days = excluded.retention_days "
            "WHERE buckets.retention_days IS DISTINCT FROM excluded.retention_days"
        ),
        [{"name": name, "days": days} for name, days in buckets.items()],
    )


def _enter_history(connection: Connection, days: float) -> None:
    """How long the past is kept; the fleet, which forgets it, cannot say another number."""
    connection.exec_driver_sql(
        "CREATE OR REPLACE FUNCTION argosy.history_days() RETURNS double precision "
        f"LANGUAGE sql IMMUTABLE RETURN {float(days)!r}::double precision; "
        "REVOKE ALL ON FUNCTION argosy.history_days() FROM PUBLIC, anon, authenticated; "
        "GRANT EXECUTE ON FUNCTION argosy.history_days() TO argosy_fleet",
        execution_options={"no_parameters": True},
    )
