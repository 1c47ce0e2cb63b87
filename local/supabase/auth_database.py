"""Auth's transactions: several statements with decisions, and hooks, in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.rows import dict_row

from local.supabase.auth_errors import conflict, unexpected_failure
from local.supabase.database import Row
from local.supabase.services import Services

Cursor = psycopg.AsyncCursor[Row]

_at_once = asyncio.Semaphore(8)
_OPTIONS = "-c statement_timeout=10000 -c lock_timeout=5000 -c search_path=auth"


@asynccontextmanager
async def transaction(services: Services) -> AsyncIterator[Cursor]:
    """Open a transaction as the role that Supabase Auth is; an exception rolls it back."""
    async with _at_once:
        try:
            connecting = psycopg.AsyncConnection.connect(
                services.config.database_url,
                row_factory=dict_row,
                connect_timeout=5,
                options=_OPTIONS,
            )
            async with await connecting as connection, connection.cursor() as cursor:
                await cursor.execute("SET LOCAL ROLE supabase_auth_admin")
                yield cursor
        except psycopg.errors.LockNotAvailable as error:
            raise conflict() from error
        except psycopg.Error as error:
            raise unexpected_failure("Database error querying schema") from error


async def first(cursor: Cursor, sql: str, *values: object) -> Row | None:
    """Return the first row of a query."""
    await cursor.execute(sql.encode(), values)
    return await cursor.fetchone()
