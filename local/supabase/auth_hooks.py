"""Auth hooks: Postgres functions that are asked before a token is issued or a password counts.

As Auth calls them: role `supabase_auth_admin`, one jsonb in, one jsonb out, two seconds.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg

from local.supabase.auth_database import Cursor, first, transaction
from local.supabase.auth_errors import (
    AuthError,
    RaisedInHook,
    invalid_credentials,
    unexpected_failure,
)
from local.supabase.config import Hook
from local.supabase.keys import Claims
from local.supabase.services import Services

_MILLISECONDS = 2000
_REJECTED = "Further password verification attempts will be rejected."
_TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("iss", "sub", "email", "phone", "role", "aal", "session_id"), (str,)),
    **dict.fromkeys(("jti", "client_id"), (str,)),
    **dict.fromkeys(("exp", "iat", "nbf"), (int,)),
    **dict.fromkeys(("app_metadata", "user_metadata"), (dict,)),
    "aud": (str, list),
    "amr": (list,),
}
_REQUIRED = (
    *("aud", "exp", "iat", "sub", "email", "phone"),
    *("role", "aal", "session_id", "is_anonymous"),
)
# SQLSTATEs of a hook's exceptions that Auth shows, all with 500: raise_exception, constraints.
_SHOWN = ("P0001", "23000", "23001", "23502", "23503", "23505", "23514", "23P01")


async def token_issued(
    cursor: Cursor, services: Services, user_id: UUID, claims: Claims, method: str
) -> Claims:
    """Return the claims to sign: the hook's, in the same transaction as the session's rows.

    Its error is the answer, and undoes the transaction, with what the hook itself has written.
    """
    hook = services.config.access_token_hook
    if hook is None:
        return claims
    event = {"user_id": str(user_id), "claims": claims, "authentication_method": method}
    output = await _ask(cursor, hook, "customize-access-token", event)
    output = {"claims": {}} if output is None else output
    _raise_error_of(output)
    if "claims" not in output:
        raise unexpected_failure("output claims field is missing")
    if not isinstance(output["claims"], dict):
        raise unexpected_failure("Error unmarshaling JSON output.")
    _check(output["claims"])
    return output["claims"]


async def password_attempted(services: Services, user_id: UUID, *, valid: bool) -> None:
    """Tell the hook whether a password was right; refuse if the hook rejects the attempt.

    It has a transaction of its own: what it writes stays, whatever it decides.
    """
    hook = services.config.password_hook
    if hook is None:
        return
    async with transaction(services) as cursor:
        event = {"user_id": str(user_id), "valid": valid}
        output = await _ask(cursor, hook, "password-verification", event) or {}
    _raise_error_of(output)
    if output.get("decision") != "reject":
        return
    if output.get("should_logout_user") is True:
        ended = ("DELETE FROM auth.sessions WHERE user_id = %s", (user_id,))
        await services.database.transaction(ended)
    raise invalid_credentials(str(output.get("message") or _REJECTED))


async def _ask(
    cursor: Cursor, hook: Hook, name: str, event: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the function's answer; None for NULL."""
    now = datetime.now(UTC).isoformat()
    metadata = {"uuid": str(uuid4()), "time": now, "name": name, "ip_address": "127.0.0.1"}
    try:
        await cursor.execute(f"SET LOCAL statement_timeout TO {_MILLISECONDS}".encode())
        call = f'SELECT "{hook.schema}"."{hook.name}"(%s) AS answer'
        row = await first(cursor, call, json.dumps({"metadata": metadata, **event}))
        await cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    except psycopg.Error as error:
        raise _failed(hook, error) from error
    answer = row["answer"] if row else None
    if answer is not None and not isinstance(answer, dict):
        raise unexpected_failure("Error unmarshaling JSON output.")
    return answer


def _raise_error_of(answer: dict[str, Any]) -> None:
    """An `error` without a message, or with members of other types, is none to Auth."""
    error = answer.get("error")
    if not isinstance(error, dict):
        return
    status, message = error.get("http_code") or 0, error.get("message")
    if type(status) is int and isinstance(message, str) and message:
        status = status or 500
        raise AuthError(status, "unexpected_failure" if status == 500 else "unknown", message)


def _failed(hook: Hook, error: psycopg.Error) -> AuthError:
    state = error.sqlstate or ""
    if state in _SHOWN:
        return RaisedInHook(500, error)
    if state.startswith("PT") and state[2:].isdecimal():  # PostgREST's way to choose a status
        return RaisedInHook(int(state[2:]), error)
    return unexpected_failure(f"Error running hook URI: {hook.uri}")


def _check(claims: Claims) -> None:
    """Refuse claims that make no access token."""
    wrong = [f"(root): {name} is required" for name in _REQUIRED if name not in claims]
    for name, types in _TYPES.items():
        if name in claims and type(claims[name]) not in types:
            expected = "/".join(kind.__name__ for kind in types)
            given = type(claims[name]).__name__
            wrong.append(f"{name}: Invalid type. Expected: {expected}, given: {given}")
    if wrong:
        lines = "".join(f"- {line}\n" for line in wrong)
        raise unexpected_failure(f"output claims do not conform to the expected schema: \n{lines}")
