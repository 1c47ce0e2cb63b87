"""Runs the migrations of schema `argosy`, in one transaction, never waiting long for a lock."""

from __future__ import annotations

from sqlalchemy import Connection, text

from alembic import context
from argosy.settings import fleet_settings
from models import SCHEMA, Base
from models.database import make_engine

LOCK_TIMEOUT = "5s"
"""A migration that waits for a lock makes every later query wait behind it: give up early."""
STATEMENT_TIMEOUT = "120s"


def ours_only(name: str | None, kind: str, _parents: object) -> bool:
    """Supabase owns the other schemas."""
    return name == SCHEMA if kind == "schema" else True


def migrate(connection: Connection) -> None:
    caller_commits = connection.in_transaction()
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    if not caller_commits:
        connection.commit()
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=ours_only,
        compare_server_default=True,
    )
    with context.begin_transaction():
        # For this transaction only: a session may be shared behind a pooler.
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'"))
        context.run_migrations()


given = context.config.attributes.get("connection")
if isinstance(given, Connection):
    migrate(given)
elif given is not None:
    with given.connect() as opened:
        migrate(opened)
else:
    with make_engine(fleet_settings().operator_url).connect() as opened:
        migrate(opened)
