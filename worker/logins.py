"""The fleet's own login in PostgreSQL: the role that DATABASE_URL names."""

from __future__ import annotations

import re

import psycopg
from psycopg import sql
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import OperationalError

from argosy.settings import FleetSettings
from models.database import make_engine
from worker.unready import DatabaseUnready

FLEET_ROLE = "argosy_fleet"
OBSERVER_ROLE = "argosy_observer"
"""What a dashboard's login is a member of: it reads the views of the past, and nothing else."""
MIGHTY = "(rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication)"
"""What a role is that neither grants nor row-level security bind for long."""
_NOT_LET_IN = re.compile(
    r"(password|SASL) authentication failed|role \".*\" does not exist|no password supplied"
)
"""libpq keeps the SQLSTATE of a refused connection (28P01, 28000) to itself."""


def login_of(url: str, settings: FleetSettings) -> str:
    """The role's name; behind Supabase's pooler the project's reference is added to it."""
    return (make_url(url).username or "").removesuffix(f".{settings.project_ref}")


def gets_in(settings: FleetSettings) -> bool:
    """Whether PostgreSQL lets the fleet's login in with its password.

    Raises DatabaseUnready where the cause is another than the name or the password.
    """
    engine = make_engine(settings.database_url)
    try:
        engine.connect().close()
    except OperationalError as error:
        if _NOT_LET_IN.search(str(error.orig)):
            return False
        why = " ".join(str(error.orig).split())
        raise DatabaseUnready(f"DATABASE_URL does not lead to PostgreSQL: {why}.") from None
    finally:
        engine.dispose()
    return True


def let_in(connection: Connection, settings: FleetSettings, *, gets_in: bool) -> list[str]:
    """Make the login a member of argosy_fleet that gets in; returns what no catalog shows.

    A password is changed for the fleet's own login only: one that is made here,
    or that is a member already, and that is not mighty. Else DatabaseUnready.
    """
    login = login_of(settings.database_url, settings)
    exists = connection.scalar(text("SELECT to_regrole(quote_ident(:name))"), {"name": login})
    member = bool(exists) and _is_member(connection, login)
    if gets_in and member:
        return []
    if exists:
        _refuse_others_roles(connection, login, may_change=gets_in or member)
    if not gets_in:
        _set_password(connection, login, _password(settings), "ALTER" if exists else "CREATE")
    if not member:
        _run(connection, "GRANT {} TO {}", sql.Identifier(FLEET_ROLE), sql.Identifier(login))
    return [f"role {login}: password set"] if exists and not gets_in else []


def _is_member(connection: Connection, login: str) -> bool:
    query = text("SELECT pg_has_role(:name, :fleet, 'MEMBER')")
    return bool(connection.scalar(query, {"name": login, "fleet": FLEET_ROLE}))


def _refuse_others_roles(connection: Connection, login: str, *, may_change: bool) -> None:
    """DATABASE_URL with a typo may name the owner, or an application's role."""
    query = f"SELECT rolname FROM pg_roles WHERE {MIGHTY} AND pg_has_role(:name, oid, 'MEMBER')"  # noqa: S608
    mighty = sorted(connection.scalars(text(query), {"name": login}))
    if mighty:
        raise DatabaseUnready(
            f"DATABASE_URL names role {login}, which is or can become {', '.join(mighty)}, whom "
            "row-level security does not bind: bootstrap does not change it. Name a role of the "
            "fleet's own, or correct the password."
        )
    if not may_change:
        raise DatabaseUnready(
            f"DATABASE_URL names role {login}, which PostgreSQL does not let in with this "
            f"password and which is not the fleet's: correct the password, or "
            f'GRANT {FLEET_ROLE} TO "{login}".'
        )


def _password(settings: FleetSettings) -> str:
    password = make_url(settings.database_url).password
    if not password:
        raise DatabaseUnready("DATABASE_URL has no password: give the fleet's login one.")
    return str(password)


def _set_password(connection: Connection, login: str, password: str, verb: str) -> None:
    """The server is told a SCRAM verifier: it may log what it is told."""
    pgconn = _driver(connection).pgconn
    verifier = pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    words = (sql.SQL(verb), sql.Identifier(login), sql.Literal(verifier.decode()))
    _run(connection, "{} ROLE {} LOGIN PASSWORD {}", *words)


def _run(connection: Connection, statement: str, *words: sql.Composable) -> None:
    _driver(connection).execute(sql.SQL(statement).format(*words))


def _driver(connection: Connection) -> psycopg.Connection:
    raw = connection.connection.driver_connection
    assert isinstance(raw, psycopg.Connection)  # noqa: S101  the driver is psycopg
    return raw
