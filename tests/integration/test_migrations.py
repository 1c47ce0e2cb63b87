"""Migrations: up, down, the same as the models, and never waiting long for a lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from alembic.config import Config
from pytest_alembic import MigrationContext
from pytest_alembic.tests import (
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from alembic import command
from local.servers.postgres import Postgres
from local.supabase.schema import apply_schema
from models import Base
from models.database import make_engine

__all__ = [
    "test_model_definitions_match_ddl",
    "test_single_head_revision",
    "test_up_down_consistency",
    "test_upgrade",
]

# Alembic says so of its own, where it reads an index of expressions back from the database.
pytestmark = pytest.mark.filterwarnings("ignore:Can't validate argument 'dialect_options'")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"), uuid4().hex)
    server.start()
    yield server
    server.stop()


@contextmanager
def new_database(postgres: Postgres) -> Iterator[str]:
    """A new database with nothing in it but what Supabase brings."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        url = f"{postgres.url.rpartition('/')[0]}/{name}"
        apply_schema(url)
        yield url
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    with new_database(postgres) as url:
        yield url


@pytest.fixture
def alembic_engine(database: str) -> Iterator[Engine]:
    engine = make_engine(database)
    yield engine
    engine.dispose()


@pytest.fixture
def alembic_config() -> Config:
    return Config(toml_file=str(ROOT / "pyproject.toml"))


@pytest.fixture
def migrated(alembic_runner: MigrationContext) -> MigrationContext:
    alembic_runner.migrate_up_to("heads", return_current=False)
    return alembic_runner


def _snapshot(engine: Engine) -> dict[str, list[str]]:
    """All that a migration may have made or changed."""
    queries = {
        "relations": "SELECT n.nspname || '.' || c.relname FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'",
        "functions": "SELECT p.oid::regprocedure::text || p.proacl::text FROM pg_proc p "
        "JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'argosy'",
        "policies": "SELECT tablename || '.' || policyname FROM pg_policies",
        "triggers": "SELECT tgrelid::regclass::text || '.' || tgname FROM pg_trigger "
        "WHERE NOT tgisinternal",
        "schemas": "SELECT nspname || acl.grantee::regrole || acl.privilege_type "
        "FROM pg_namespace, "
        "LATERAL aclexplode(nspacl) AS acl WHERE acl.grantee <> nspowner",
    }
    with engine.connect() as connection:
        return {
            name: sorted(str(value) for value in connection.scalars(text(query)))
            for name, query in queries.items()
        }


def test_down_leaves_what_was_there_before(
    alembic_runner: MigrationContext, alembic_engine: Engine
) -> None:
    alembic_runner.migrate_up_to("0001")
    alembic_runner.migrate_down_to("base")
    before = _snapshot(alembic_engine)  # the schema and alembic's own table stay
    alembic_runner.migrate_up_to("heads", return_current=False)
    assert _snapshot(alembic_engine) != before
    alembic_runner.migrate_down_to("base")
    assert _snapshot(alembic_engine) == before


def test_down_and_up_makes_the_same(migrated: MigrationContext, alembic_engine: Engine) -> None:
    before = _snapshot(alembic_engine)
    migrated.migrate_down_to("base")
    migrated.migrate_up_to("heads", return_current=False)
    assert _snapshot(alembic_engine) == before


def test_up_twice_is_up_once(migrated: MigrationContext, alembic_engine: Engine) -> None:
    before = _snapshot(alembic_engine)
    migrated.migrate_up_to("heads", return_current=False)
    assert _snapshot(alembic_engine) == before


def test_everything_is_in_the_schema_of_its_own(
    migrated: MigrationContext, alembic_engine: Engine
) -> None:
    with alembic_engine.connect() as connection:
        assert not list(
            connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        )
        ours = set(
            connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'argosy'"))
        )
    assert ours == {table.name for table in Base.metadata.tables.values()} | {"alembic_version"}


def test_supabases_own_tables_are_left_alone(
    migrated: MigrationContext, alembic_engine: Engine
) -> None:
    """On a hosted project a migration may create policies there, nothing else."""
    with alembic_engine.connect() as connection:
        triggers = connection.scalars(
            text("SELECT tgname FROM pg_trigger WHERE tgrelid = 'storage.objects'::regclass")
        )
        assert not [name for name in triggers if "argosy" in name]
        indexes = connection.scalars(
            text("SELECT indexname FROM pg_indexes WHERE schemaname = 'storage'")
        )
        assert not [name for name in indexes if "argosy" in name]


HELD = [
    ("0001", "storage.objects"),
    ("0001", "storage.s3_multipart_uploads"),
]


@pytest.mark.parametrize(("before", "table"), HELD)
def test_a_migration_that_finds_a_lock_gives_up(
    alembic_runner: MigrationContext,
    alembic_engine: Engine,
    database: str,
    before: str,
    table: str,
) -> None:
    """It would wait for ever, and everybody who needs the table behind it."""
    alembic_runner.migrate_up_to(before)
    with psycopg.connect(database) as holder:
        holder.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE")  # type: ignore[arg-type]
        with pytest.raises(OperationalError) as caught:
            alembic_runner.migrate_up_to("heads", return_current=False)
    assert isinstance(caught.value.orig, psycopg.errors.LockNotAvailable)
    assert alembic_runner.current == before
    alembic_runner.migrate_up_to("heads", return_current=False)


def test_a_migration_that_takes_for_ever_is_stopped(alembic_engine: Engine) -> None:
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    event.listen(alembic_engine, "before_cursor_execute", note)
    with alembic_engine.connect() as connection:
        upgrade(connection)
    first_table = next(n for n, statement in enumerate(said) if "CREATE TABLE" in statement)
    limits = ["SET LOCAL lock_timeout = '5s'", "SET LOCAL statement_timeout = '120s'"]
    assert [statement for statement in said[:first_table] if "SET" in statement] == limits


def upgrade(connection: Connection) -> None:
    config = Config(toml_file=str(ROOT / "pyproject.toml"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


# The audit


@pytest.fixture(scope="module")
def audited(postgres: Postgres) -> Iterator[Engine]:
    """A migrated database with one event, shared by the tests that cannot change it."""
    with new_database(postgres) as url:
        engine = make_engine(url)
        with engine.connect() as connection:
            upgrade(connection)
            connection.execute(text("INSERT INTO argosy.events (name) VALUES ('first')"))
            connection.commit()
        yield engine
        engine.dispose()


CHANGES = [
    "UPDATE argosy.events SET name = 'changed'",
    "UPDATE argosy.events SET name = 'changed' WHERE false",
    "DELETE FROM argosy.events",
    "TRUNCATE argosy.events",
    "TRUNCATE argosy.events CASCADE",
    "INSERT INTO argosy.events (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'first') "
    "ON CONFLICT (id) DO UPDATE SET name = 'changed'",
    "MERGE INTO argosy.events USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_audit_is_append_only(audited: Engine, change: str) -> None:
    with pytest.raises(ProgrammingError, match="append-only"), audited.begin() as connection:
        connection.execute(text(change))
    with audited.connect() as connection:
        connection.execute(text("INSERT INTO argosy.events (name) VALUES ('second')"))
        names = list(connection.scalars(text("SELECT name FROM argosy.events ORDER BY id")))
        connection.rollback()
    assert names == ["first", "second"]


AGENTS_MAY_NOT = [
    f"{verb} argosy.{table}{rest}"
    for table in ("transfers", "chunks", "agents", "events", "continuations")
    for verb, rest in (("SELECT FROM", ""), ("DELETE FROM", ""), ("TRUNCATE", ""))
]


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_agents_do_not_see_the_rows(audited: Engine, role: str) -> None:
    for statement in AGENTS_MAY_NOT:
        with (
            pytest.raises(DBAPIError, match="permission denied"),
            audited.begin() as connection,
        ):
            connection.execute(text(f"SET LOCAL ROLE {role}"))
            connection.execute(text(statement))
