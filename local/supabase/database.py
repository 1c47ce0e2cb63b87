"""PostgreSQL: a few connections, and a transaction per request sent in one round trip."""

from __future__ import annotations

import asyncio
import json
import select
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from local.supabase import errors
from local.supabase.keys import Claims

Row = dict[str, Any]
Statement = tuple[str, Sequence[Any]]
Connection = psycopg.AsyncConnection[Row]

OWNER: Statement = (
    "SELECT set_config('role', 'supabase_storage_admin', true),"
    " set_config('storage.allow_delete_query', 'true', true)",
    (),
)
_ACQUIRE_SECONDS = 10.0
_CONNECT_SECONDS = 5
_OPTIONS = "-c statement_timeout=30000 -c idle_in_transaction_session_timeout=60000"


@dataclass(frozen=True)
class Scope:
    """Who a statement runs as: the role and the claims of a token."""

    role: str
    claims: Claims = field(default_factory=dict)
    token: str = ""
    operation: str = ""

    @property
    def owner_id(self) -> str | None:
        """The token's subject, which becomes the owner of what it creates."""
        return self.claims.get("sub")

    def enter(self) -> Statement:
        """Return the statement that puts the transaction under this role and these claims."""
        claims = json.dumps({**self.claims, "role": self.role})
        return (
            "SELECT set_config('role', %s, true),"
            " set_config('request.jwt.claim.role', %s, true),"
            " set_config('request.jwt', %s, true),"
            " set_config('request.jwt.claim.sub', %s, true),"
            " set_config('request.jwt.claims', %s, true),"
            " set_config('storage.operation', %s, true),"
            " set_config('storage.allow_delete_query', 'true', true)",
            (self.role, self.role, self.token, self.owner_id or "", claims, self.operation),
        )


class Database:
    """A small pool of connections that forgets the broken ones.

    A transaction is one simple-protocol script, with its values quoted by libpq: however many
    statements it has, it costs one round trip, and no connection waits for a client's bytes.
    """

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._idle: list[Connection] = []
        self._slots = asyncio.Semaphore(size)

    async def transaction(self, *statements: Statement, commit: bool = True) -> list[list[Row]]:
        """Run the statements in one transaction and return the rows of each."""
        script = "; ".join(["BEGIN", *(sql for sql, _ in statements)])
        script += "; COMMIT" if commit else "; ROLLBACK"
        values = [value for _, params in statements for value in params]
        results = await self._execute(script, values)
        return results[1:-1]

    async def one(self, *statements: Statement) -> Row | None:
        """Run the statements and return the first row of the last one."""
        rows = (await self.transaction(*statements))[-1]
        return rows[0] if rows else None

    async def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            await self._idle.pop().close()

    async def _execute(self, script: str, values: Sequence[Any]) -> list[list[Row]]:
        try:
            await asyncio.wait_for(self._slots.acquire(), _ACQUIRE_SECONDS)
        except TimeoutError as error:
            raise errors.slow_down() from error
        try:
            return await self._execute_on(await self._connection(), script, values)
        except psycopg.Error as error:
            raise translate(error) from error
        finally:
            self._slots.release()

    async def _execute_on(
        self, connection: Connection, script: str, values: Sequence[Any]
    ) -> list[list[Row]]:
        try:
            async with psycopg.AsyncClientCursor(connection) as cursor:
                await cursor.execute(script.encode(), values or None)
                results = [await cursor.fetchall() if cursor.description else []]
                while cursor.nextset():
                    results.append(await cursor.fetchall() if cursor.description else [])
        except psycopg.Error:
            await self._recover(connection)
            raise
        except BaseException:
            # A cancelled query leaves the connection in an unknown state.
            await connection.close()
            raise
        self._idle.append(connection)
        return results

    async def _recover(self, connection: Connection) -> None:
        try:
            await connection.rollback()
        except psycopg.Error:
            await connection.close()
        else:
            self._idle.append(connection)

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if _alive(connection):
                return connection
            await connection.close()
        return await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=_CONNECT_SECONDS,
            options=_OPTIONS,
        )


def _alive(connection: Connection) -> bool:
    # Nothing is due on an idle connection: what can be read is the server saying goodbye.
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def translate(error: psycopg.Error) -> errors.StorageError:
    """Put a PostgreSQL error in the words of the Storage API."""
    state = error.sqlstate
    if state is None and isinstance(error, psycopg.DataError):
        return errors.StorageError("InvalidParameter", 400, str(error))
    if state is None or state[:2] in ("08", "53") or state in ("57P01", "57P02", "57P03"):
        return errors.database_unavailable()
    known = _KNOWN.get(state)
    if known is None:
        return errors.StorageError("DatabaseError", 500, f"database error, code: {state}")
    return known(error)


def _denied(error: psycopg.Error) -> errors.StorageError:
    message = error.diag.message_primary or ""
    rls = "new row violates row-level security policy"
    return errors.access_denied(rls if "row-level security" in message else message)


def _timed_out(error: psycopg.Error) -> errors.StorageError:
    del error
    message = "The connection to the database timed out"
    return errors.StorageError("DatabaseTimeout", 544, message, rest_status=544)


def _duplicate(error: psycopg.Error) -> errors.StorageError:
    del error
    return errors.already_exists("ResourceAlreadyExists")


def _malformed(error: psycopg.Error) -> errors.StorageError:
    return errors.StorageError("InvalidParameter", 400, error.diag.message_primary or "")


def _foreign_key(error: psycopg.Error) -> errors.StorageError:
    if "is still referenced from table" not in (error.diag.message_detail or ""):
        message = "The related resource does not exist"
        return errors.StorageError("InvalidRequest", 404, message)
    if (error.diag.constraint_name or "").startswith("s3_multipart_uploads"):
        message = (
            "The bucket could not be updated because it is referenced by a pending multipart"
            " upload."
        )
    else:
        message = "The resource could not be updated or removed due to a foreign key constraint"
    return errors.StorageError("ResourceReferenced", 409, message)


_KNOWN: dict[str, Callable[[psycopg.Error], errors.StorageError]] = {
    "42501": _denied,
    "23505": _duplicate,
    "23503": _foreign_key,
    "57014": _timed_out,
    "22P02": _malformed,
    "22021": _malformed,
}
