"""Nobody but Supabase's own roles gets at what decides, and nobody's objects stand in for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import Jsonb

from tests.deployment import Deployment

OUTSIDERS = ("anon", "authenticated", "service_role", "supabase_storage_admin")
"""Roles of Supabase; requests come as one of the first three."""

BOOKS = (
    "stray_objects",
    "stray_uploads",
    "differing_files",
    "differing_derivatives",
    "stale_leases",
    "grants_without_file",
    "pins_without_file",
)
PAST = ("forget_events", "history_days")
CALLERS = {
    "can_read": {"authenticated", "argosy_fleet", "fleet"},
    "can_write": {"authenticated", "argosy_fleet", "fleet"},
    "decide": {"argosy_fleet", "fleet"},
    "token_issued": {"supabase_auth_admin"},
    "password_attempted": {"supabase_auth_admin"},
    **{function: {"argosy_fleet", "fleet"} for function in (*BOOKS, *PAST, "last_stored")},
}
"""Who may call what, besides the owner; any other function nobody."""


@pytest.fixture
def connection(deployment: Deployment) -> Iterator[psycopg.Connection]:
    """As the owner of the database; nothing stays."""
    with psycopg.connect(deployment.settings.operator_url) as made:
        yield made
        made.rollback()


def _column(connection: psycopg.Connection, query: str, *values: Any) -> list[Any]:
    return [row[0] for row in connection.execute(query.encode(), values)]


def test_only_who_must_may_call_a_function(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        "SELECT proname, rolname FROM pg_proc, pg_roles"
        " WHERE pronamespace = 'argosy'::regnamespace AND NOT rolsuper"
        " AND prorettype <> 'trigger'::regtype AND NOT starts_with(rolname, 'pg_')"
        " AND has_function_privilege(pg_roles.oid, pg_proc.oid, 'EXECUTE')"
    ).fetchall()
    found: dict[str, set[str]] = {}
    for function, role in rows:
        found.setdefault(function, set()).add(role)
    assert found == CALLERS


@pytest.mark.parametrize("function", ["decide", "covering", "is_plain"])
@pytest.mark.parametrize("role", OUTSIDERS)
def test_a_request_cannot_call_what_decides(
    connection: psycopg.Connection, role: str, function: str
) -> None:
    arguments = {"decide": "gen_random_uuid(), 'a', 'b', 'read'"}.get(function, "'a'")
    connection.execute(f"SET LOCAL ROLE {role}".encode())
    with pytest.raises(InsufficientPrivilege):
        connection.execute(f"SELECT argosy.{function}({arguments})".encode())


def test_a_request_reads_no_table_of_the_fleet(connection: psycopg.Connection) -> None:
    relations = _column(
        connection,
        "SELECT oid::regclass::text FROM pg_class"
        " WHERE relnamespace = 'argosy'::regnamespace AND relkind IN ('r', 'v', 'm', 'S', 'p')",
    )
    assert {"argosy.agents", "argosy.grants", "argosy.events"} <= set(relations)
    rights = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
    for role in OUTSIDERS:
        for relation in relations:
            kind, asked = (
                ("sequence", "USAGE, SELECT, UPDATE")
                if relation.endswith("_seq")
                else (
                    "table",
                    rights,
                )
            )
            query = f"SELECT has_{kind}_privilege(%s, %s, %s)"
            assert _column(connection, query, role, relation, asked) == [False], (role, relation)


@pytest.mark.parametrize("role", OUTSIDERS)
@pytest.mark.parametrize(
    "table",
    [
        *("agents", "grants", "buckets", "transfers", "events"),
        *("transfer_history", "throughput_hourly", "failures_by_reason"),
    ],
)
def test_a_request_is_refused_a_table(
    connection: psycopg.Connection, role: str, table: str
) -> None:
    connection.execute(f"SET LOCAL ROLE {role}".encode())
    with pytest.raises(InsufficientPrivilege):
        connection.execute(f"SELECT FROM argosy.{table}".encode())


def test_no_request_creates_anything_in_the_schema(connection: psycopg.Connection) -> None:
    for role in (*OUTSIDERS, "argosy_fleet", "fleet"):
        query = "SELECT has_schema_privilege(%s, 'argosy', 'CREATE')"
        assert _column(connection, query, role) == [False]


def test_policies_are_for_signed_in_users_alone(connection: psycopg.Connection) -> None:
    roles = _column(connection, "SELECT DISTINCT roles::text FROM pg_policies")
    tables = _column(
        connection,
        "SELECT relname FROM pg_class WHERE relnamespace = 'storage'::regnamespace"
        " AND relkind = 'r' AND NOT relrowsecurity",
    )
    assert roles == ["{authenticated}"]
    assert tables == []


def test_every_function_with_the_owners_rights_names_where_it_looks(
    connection: psycopg.Connection,
) -> None:
    """Where pg_temp is not named it comes first, and a caller's type would run as the owner."""
    rows = connection.execute(
        "SELECT proname, proconfig FROM pg_proc"
        " WHERE pronamespace = 'argosy'::regnamespace AND prosecdef"
    ).fetchall()
    assert {name for name, _ in rows} == set(CALLERS) - {"history_days"}  # it says a number
    assert [name for name, settings in rows if NOWHERE_ELSE not in (settings or ())] == []


NOWHERE_ELSE = "search_path=pg_catalog, pg_temp"


# Somebody's own objects, named like what the functions use

LOOT = "INSERT INTO public.loot VALUES (current_user::pg_catalog.text)"
STEAL = "LANGUAGE plpgsql AS $$ BEGIN " + LOOT + "; RETURN true; END $$"


def _domain(schema: str, name: str, base: str) -> list[str]:
    """A type whose check is code of the attacker's."""
    return [
        f"CREATE FUNCTION {schema}.steal({base}) RETURNS boolean {STEAL}",
        f"CREATE DOMAIN {schema}.{name} AS {base} CHECK ({schema}.steal(VALUE))",
    ]


def _tables(schema: str) -> list[str]:
    """Rows that would let everybody do everything."""
    return [
        f"CREATE TABLE {schema}.agents AS SELECT auth.uid() AS id, 'admin' AS role,"
        " NULL::timestamptz AS disabled_at",
        f"CREATE TABLE {schema}.buckets AS SELECT 'model-other' AS name",
        f"CREATE TABLE {schema}.grants AS SELECT gen_random_uuid() AS id, 'agent-transfers' AS"
        " bucket, ''::text AS path, auth.uid() AS agent_id, NULL::text AS role, 'write' AS access,"
        " NULL::timestamptz AS expires_at",
    ]


def _operator(schema: str, sign: str, left: str, right: str, result: str = "boolean") -> list[str]:
    """One that steals, and is true of everything."""
    value = "true" if result == "boolean" else "$1::pg_catalog.text"
    name = f"{schema}.stolen_{left.split('.')[1].strip('[]')}"
    body = STEAL.replace("RETURN true", f"RETURN {value}")
    return [
        f"CREATE FUNCTION {name}({left}, {right}) RETURNS {result} {body}",
        f"CREATE OPERATOR {schema}.{sign} (leftarg = {left}, rightarg = {right},"
        f" function = {name})",
    ]


def _functions(schema: str) -> list[str]:
    made = {
        "starts_with(pg_catalog.text, pg_catalog.text) RETURNS boolean": "true",
        "uid() RETURNS pg_catalog.uuid": "gen_random_uuid()",
        "now() RETURNS pg_catalog.timestamptz": "'-infinity'::pg_catalog.timestamptz",
        "string_to_array(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.text[]": "'{}'",
        "can_read(pg_catalog.text, pg_catalog.text) RETURNS boolean": "true",
        "is_plain(pg_catalog.text) RETURNS boolean": "true",
        "current_setting(pg_catalog.text, boolean) RETURNS pg_catalog.text": "'{}'",
    }
    return [
        f"CREATE FUNCTION {schema}.{head} {STEAL.replace('RETURN true', f'RETURN {value}')}"
        for head, value in made.items()
    ]


TEXT, UUID = "pg_catalog.text", "pg_catalog.uuid"
ATTACKS = {
    "tables": _tables,
    "functions": _functions,
    "type text": lambda schema: _domain(schema, "text", TEXT),
    "type uuid": lambda schema: _domain(schema, "uuid", UUID),
    "type jsonb": lambda schema: _domain(schema, "jsonb", "pg_catalog.jsonb"),
    "operator = of uuid": lambda schema: _operator(schema, "=", UUID, UUID),
    "operator = of text": lambda schema: _operator(schema, "=", TEXT, TEXT),
    "operator || of text": lambda schema: _operator(schema, "||", TEXT, TEXT, TEXT),
    "operator !~ of text": lambda schema: _operator(schema, "!~", TEXT, TEXT),
    "operator > of time": lambda schema: _operator(
        schema, ">", "pg_catalog.timestamptz", "pg_catalog.timestamptz"
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("schema", ["pg_temp", "public"])
@pytest.mark.parametrize("role", ["authenticated", "fleet"])
def test_objects_of_a_callers_own_decide_nothing(
    connection: psycopg.Connection, role: str, schema: str, attack: str
) -> None:
    victim, attacker = _agent(connection), _agent(connection)
    connection.execute(
        "INSERT INTO argosy.grants (bucket, path, agent_id, access, granted_by, expires_at)"
        " VALUES ('agent-transfers', %s, %s, 'write', %s, now())",
        (f"{victim}/", attacker, victim),
    )
    with _as(connection, role, attacker):
        for statement in ATTACKS[attack](schema):
            connection.execute(statement.encode())
        connection.execute(f"SET LOCAL search_path = {schema}, pg_catalog".encode())
        assert _decisions(connection, attacker, victim) == (True, False, False, False)
    assert _column(connection, "SELECT who FROM public.loot") == []


def test_the_attack_works_on_a_function_that_does_not_look_out(
    connection: psycopg.Connection,
) -> None:
    """Else the tests above could hold because the attacks are none."""
    connection.execute(
        "CREATE FUNCTION public.careless(uuid) RETURNS text LANGUAGE plpgsql SECURITY DEFINER"
        " SET search_path = '' AS $$ BEGIN RETURN $1::text; END $$"
    )
    with _as(connection, "authenticated", _agent(connection)):
        for statement in _domain("pg_temp", "text", TEXT):
            connection.execute(statement.encode())
        connection.execute("SELECT public.careless(gen_random_uuid())")
    owner = _column(connection, "SELECT current_user::text")
    assert set(_column(connection, "SELECT who FROM public.loot")) == set(owner)


def _agent(connection: psycopg.Connection) -> str:
    agent = str(uuid4())
    query = "INSERT INTO argosy.agents (id, name) VALUES (%s, %s)"
    connection.execute(query.encode(), (agent, f"attack-{agent[:12]}"))
    return agent


@contextmanager
def _as(connection: psycopg.Connection, role: str, agent: str) -> Iterator[None]:
    """An attacker who may make objects, and whose loot can be seen afterwards."""
    connection.execute("CREATE TABLE public.loot (who text)")
    connection.execute("GRANT INSERT ON public.loot TO PUBLIC")
    connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    connection.execute(f"SET LOCAL ROLE {role}".encode())
    claims = Jsonb({"sub": agent, "role": "authenticated"})
    connection.execute("SELECT set_config('request.jwt.claims', %s::text, true)", (claims,))
    yield
    connection.execute("RESET ROLE")
    connection.execute("RESET search_path")


def _decisions(connection: psycopg.Connection, agent: str, other: str) -> tuple[bool, ...]:
    """Own, somebody's, in no bucket of the fleet, with an odd name."""
    asked = (
        ("agent-transfers", f"{agent}/a"),
        ("agent-transfers", f"{other}/a"),
        ("model-other", f"{agent}/a"),
        ("agent-transfers", f"{agent}/../a"),
    )
    query = "SELECT argosy.can_read(%s, %s) AND argosy.can_write(%s, %s)"
    rows = [connection.execute(query.encode(), (*one, *one)).fetchone() for one in asked]
    return tuple(bool(row and row[0]) for row in rows)
