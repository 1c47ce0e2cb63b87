"""Each migration keeps the rules by which it may run while two versions of the fleet work.

What can be looked up in the catalog is checked here; docs/operations/upgrades.md has the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import ModuleType
from uuid import uuid4

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from alembic import command
from local.servers.postgres import Postgres
from models.database import make_engine
from tests.integration.test_migrations import ROOT, new_database
from worker import revisions

FIRST = "0006"
"""The first migration that was made by these rules."""
SMALL = {"agents", "buckets", "heartbeats", "rounds", "alembic_version"}
"""Tables of few rows: an index on them is made in no time."""


def _config(connection: Connection | None = None) -> Config:
    config = Config(toml_file=str(ROOT / "pyproject.toml"))
    config.attributes["connection"] = connection
    return config


def _migrations() -> list[ModuleType]:
    scripts = ScriptDirectory.from_config(_config())
    found = [script.module for script in reversed(list(scripts.walk_revisions()))]
    return [module for module in found if module.revision >= FIRST]


MIGRATIONS = _migrations()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"), uuid4().hex)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    with new_database(postgres) as url:
        yield url


@dataclass(frozen=True)
class Schema:
    """What the rules are about, of schema argosy."""

    columns: dict[str, tuple[str, bool]]
    """By table and name: the type, and whether a row may leave it out."""
    files: dict[str, int]
    """Of each table: another one after a migration means that every row was written anew."""
    plain_indexes: set[str]
    """By table and name: those that have every row of their table."""

    @property
    def tables(self) -> set[str]:
        """The names of the tables."""
        return set(self.files)


COLUMNS = """
SELECT c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod),
    NOT a.attnotnull OR a.atthasdef OR a.attidentity <> ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
WHERE c.relnamespace = 'argosy'::regnamespace AND c.relkind = 'r'
    AND a.attnum > 0 AND NOT a.attisdropped
"""
FILES = """
SELECT relname, relfilenode::bigint AS relfilenode FROM pg_class
WHERE relnamespace = 'argosy'::regnamespace AND relkind = 'r'
"""
PLAIN_INDEXES = """
SELECT t.relname || '.' || i.relname
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
WHERE t.relnamespace = 'argosy'::regnamespace AND x.indpred IS NULL
"""


def _look(connection: Connection) -> Schema:
    columns = {name: (kind, optional) for name, kind, optional in connection.execute(text(COLUMNS))}
    files = [(row.relname, row.relfilenode) for row in connection.execute(text(FILES))]
    return Schema(columns, dict(files), set(connection.scalars(text(PLAIN_INDEXES))))


def _table(name: str) -> str:
    return name.partition(".")[0]


def _newly_asked(name: str, before: Schema, after: Schema) -> bool:
    could_be_left_out = before.columns.get(name, ("", True))[1]
    return could_be_left_out and not after.columns[name][1]


def broken_rules(
    before: Schema, after: Schema, given_up: set[str], whole: Collection[str] = ()
) -> list[str]:
    """What the version before would stumble over, or wait for. `given_up` are columns that
    the migration says no version in use knows any more, `whole` are indexes of which it says
    why they may hold up who writes."""
    told = [
        f"{name} is gone: the version before uses it. Have one release without it first, then "
        "name it in the migration's GIVEN_UP."
        for name in before.columns.keys() - after.columns.keys() - given_up
    ]
    told += [
        f"{name} is {after.columns[name][0]}, and was {before.columns[name][0]}: add a new column."
        for name in before.columns.keys() & after.columns.keys()
        if before.columns[name][0] != after.columns[name][0]
    ]
    told += [
        f"{name} must be given in each row, and the version before does not know it: let it be "
        "NULL, or give it a constant default."
        for name in after.columns
        if _table(name) in before.tables and _newly_asked(name, before, after)
    ]
    told += [
        f"Every row of {name} is written anew, and nobody can use it meanwhile: no default that "
        "is not constant, no other type."
        for name in before.tables & after.tables
        if before.files[name] != after.files[name]
    ]
    told += [
        f"Index {name} has every row of its table, and nobody writes there while it is made: "
        "make it partial, or CONCURRENTLY in a migration of its own."
        for name in after.plain_indexes - before.plain_indexes - set(whole)
        if _table(name) in before.tables - SMALL
    ]
    return sorted(told)


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda module: module.revision)
def test_a_migration_keeps_the_rules(database: str, migration: ModuleType) -> None:
    engine = make_engine(database)
    with engine.connect() as connection:
        command.upgrade(_config(connection), migration.down_revision)
        before = _look(connection)
        command.upgrade(_config(connection), migration.revision)
        after = _look(connection)
    engine.dispose()
    given_up, whole = (set(getattr(migration, name, ())) for name in ("GIVEN_UP", "WHOLE_INDEXES"))
    assert broken_rules(before, after, given_up, whole) == []


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda module: module.revision)
def test_a_migration_says_which_code_works_with_it(migration: ModuleType) -> None:
    """The version before must: the schema comes first, and may stay when the code goes back."""
    assert migration.down_revision >= migration.OLDEST_CODE


def test_the_newest_is_found_without_alembic() -> None:
    assert revisions.newest() == ScriptDirectory.from_config(_config()).get_current_head()


BAD = {
    "ALTER TABLE argosy.transfers ADD COLUMN extra integer NOT NULL": "must be given",
    "ALTER TABLE argosy.transfers ALTER COLUMN sha256 SET NOT NULL": "must be given",
    "ALTER TABLE argosy.transfers ADD COLUMN extra uuid DEFAULT gen_random_uuid()": "anew",
    "ALTER TABLE argosy.transfers DROP COLUMN sha256": "sha256 is gone",
    "ALTER TABLE argosy.transfers RENAME COLUMN sha256 TO checksum": "sha256 is gone",
    "ALTER TABLE argosy.chunks ALTER COLUMN attempts TYPE bigint": "add a new column",
    "CREATE INDEX extra ON argosy.transfers (sha256)": "has every row",
}
GOOD = [
    "ALTER TABLE argosy.transfers ADD COLUMN extra integer",
    "ALTER TABLE argosy.transfers ADD COLUMN extra integer NOT NULL DEFAULT 1",
    "ALTER TABLE argosy.transfers ADD COLUMN extra timestamptz NOT NULL DEFAULT now()",
    "CREATE INDEX extra ON argosy.transfers (sha256) WHERE state = 'moving'",
    "CREATE INDEX extra ON argosy.agents (role)",
    "CREATE TABLE argosy.extra (id integer PRIMARY KEY, what text NOT NULL)",
]


@pytest.fixture(scope="module")
def newest(postgres: Postgres) -> Iterator[str]:
    with new_database(postgres) as url:
        engine = make_engine(url)
        with engine.connect() as connection:
            command.upgrade(_config(connection), "head")
            connection.commit()
        engine.dispose()
        yield url


def _broken_by(url: str, statement: str, given_up: set[str]) -> list[str]:
    engine = make_engine(url)
    with engine.connect() as connection:
        before = _look(connection)
        connection.exec_driver_sql(statement)
        after = _look(connection)
        connection.rollback()
    engine.dispose()
    return broken_rules(before, after, given_up)


@pytest.mark.parametrize("statement", BAD)
def test_what_the_rules_refuse(newest: str, statement: str) -> None:
    assert any(BAD[statement] in told for told in _broken_by(newest, statement, set()))


@pytest.mark.parametrize("statement", GOOD)
def test_what_the_rules_allow(newest: str, statement: str) -> None:
    assert _broken_by(newest, statement, set()) == []


def test_what_was_given_up_may_go(newest: str) -> None:
    statement = "ALTER TABLE argosy.transfers DROP COLUMN sha256"
    assert _broken_by(newest, statement, {"transfers.sha256"}) == []
