"""The views of the past are for the operator and for dashboards, and show no file's name."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.deployment import Deployment
from tests.security.test_policy_rights import OUTSIDERS

VIEWS = ("transfer_history", "throughput_hourly", "failures_by_reason")


@pytest.fixture
def connection(deployment: Deployment) -> Iterator[psycopg.Connection]:
    """As the owner of the database; nothing stays."""
    with psycopg.connect(deployment.settings.operator_url) as made:
        yield made
        made.rollback()


@pytest.mark.parametrize("role", [*OUTSIDERS, "argosy_fleet", "fleet"])
@pytest.mark.parametrize("view", VIEWS)
def test_nobody_else_reads_them(connection: psycopg.Connection, view: str, role: str) -> None:
    connection.execute(f"SET LOCAL ROLE {role}".encode())
    with pytest.raises(InsufficientPrivilege):
        connection.execute(f"SELECT FROM argosy.{view}".encode())


def test_a_dashboard_reads_the_views_and_nothing_else(connection: psycopg.Connection) -> None:
    """A login as the page tells operators to make it."""
    connection.execute("CREATE ROLE dashboard LOGIN PASSWORD 'x' IN ROLE argosy_observer")
    granted = connection.execute(
        "SELECT relname, privilege FROM pg_class, "
        "unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS privilege "
        "WHERE relnamespace IN ('argosy'::regnamespace, 'storage'::regnamespace) "
        "AND relkind IN ('r', 'v', 'm', 'p') "
        "AND has_table_privilege('dashboard', pg_class.oid, privilege)"
    ).fetchall()
    assert sorted(granted) == sorted((view, "SELECT") for view in VIEWS)
    called = connection.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'argosy'::regnamespace "
        "AND has_function_privilege('dashboard', oid, 'EXECUTE') "
        "AND prorettype <> 'trigger'::regtype"
    ).fetchall()
    assert called == []
    connection.execute("SET LOCAL ROLE dashboard")
    for view in VIEWS:
        connection.execute(f"SELECT * FROM argosy.{view}".encode())


def test_no_view_names_a_file(connection: psycopg.Connection) -> None:
    columns = connection.execute(
        "SELECT attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid "
        "WHERE c.relnamespace = 'argosy'::regnamespace AND c.relkind = 'v' AND attnum > 0"
    ).fetchall()
    told = {name for (name,) in columns}
    assert {"agent", "size", "error_code"} <= told
    assert told.isdisjoint({"name", "path", "object_name", "bucket", "reference", "metadata"})
