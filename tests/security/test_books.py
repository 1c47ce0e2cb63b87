"""The functions that see all of Storage tell the fleet of its own buckets, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, UndefinedObject

from tests.deployment import Deployment
from tests.security.test_policy_rights import BOOKS, OUTSIDERS

BY_BUCKET = ("stray_objects", "stray_uploads")
ASKED = {
    function: "'{}', '', 10, interval '1 s'".format(
        "agent-transfers" if function in BY_BUCKET else "{agent-transfers}"
    )
    for function in BOOKS
}
BOUND = [function for function in BOOKS if function != "stale_leases"]
"""Those that look into Storage."""


@pytest.fixture
def connection(deployment: Deployment) -> Iterator[psycopg.Connection]:
    """As the owner of the database; nothing stays."""
    with psycopg.connect(deployment.settings.operator_url) as made:
        yield made
        made.rollback()


def _ask(connection: psycopg.Connection, function: str, asked: str | None = None) -> None:
    query = f"SELECT * FROM argosy.{function}({asked or ASKED[function]})"
    connection.execute(query.encode()).fetchall()


@pytest.mark.parametrize("function", BOOKS)
def test_the_fleet_may_ask(connection: psycopg.Connection, function: str) -> None:
    connection.execute(b"SET LOCAL ROLE fleet")
    _ask(connection, function)


@pytest.mark.parametrize("role", OUTSIDERS)
@pytest.mark.parametrize("function", BOOKS)
def test_nobody_else_may(connection: psycopg.Connection, function: str, role: str) -> None:
    connection.execute(f"SET LOCAL ROLE {role}".encode())
    with pytest.raises(InsufficientPrivilege):
        _ask(connection, function)


@pytest.mark.parametrize("function", BOUND)
def test_no_other_bucket_is_told_of(connection: psycopg.Connection, function: str) -> None:
    connection.execute(b"SET LOCAL ROLE fleet")
    with pytest.raises(UndefinedObject, match="no bucket of the fleet"):
        _ask(connection, function, ASKED[function].replace("agent-transfers", "others"))


@pytest.mark.parametrize("function", BOUND)
def test_an_owner_that_sees_a_part_is_refused(
    connection: psycopg.Connection, function: str
) -> None:
    """It would take the files that it does not see for lost."""
    for statement in (
        # What other tests have left would fill the page, and be there in Storage.
        "DELETE FROM argosy.pins",
        "DELETE FROM argosy.grants",
        "CREATE ROLE bound NOLOGIN NOBYPASSRLS",
        "GRANT USAGE, CREATE ON SCHEMA argosy TO bound",
        "GRANT USAGE ON SCHEMA storage TO bound",
        "GRANT SELECT ON ALL TABLES IN SCHEMA argosy, storage TO bound",
        "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA argosy TO bound",
        "INSERT INTO argosy.agents (id, name) VALUES ('00000000-0000-0000-0000-00000000000a', 'z')",
        "INSERT INTO argosy.grants (bucket, path, role, access, granted_by, created_at) VALUES"
        " ('agent-transfers', 'gone', 'reader', 'read', gen_random_uuid(), '2020-01-01')",
        "INSERT INTO argosy.pins (message_id, agent_id, bucket, path, at) VALUES"
        " (gen_random_uuid(), '00000000-0000-0000-0000-00000000000a', 'agent-transfers', 'gone',"
        " '2020-01-01')",
        f"ALTER FUNCTION argosy.{function} OWNER TO bound",
    ):
        connection.execute(statement.encode())
    with pytest.raises(InsufficientPrivilege, match="row-level security"):
        _ask(connection, function)
