"""Sessions: access tokens that are short, refresh tokens that rotate."""

from __future__ import annotations

import re
import secrets
import string
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from local.supabase import auth_hooks, auth_users
from local.supabase.auth_database import Cursor, first, transaction
from local.supabase.auth_errors import (
    email_not_confirmed,
    invalid_credentials,
    refresh_token_not_found,
    refresh_token_reused,
    user_banned,
    validation_failed,
)
from local.supabase.database import Row
from local.supabase.passwords import verify_password
from local.supabase.services import Services
from local.supabase.transfer import in_thread

Method = Literal["password", "token_refresh"]
_ALPHABET = string.ascii_lowercase + string.digits
_TOKEN = re.compile(r"[a-z0-9]{12}")


async def sign_in(services: Services, issuer: str, email: str, password: str) -> dict[str, Any]:
    """Exchange an email and a password for a new session."""
    if not email:
        raise validation_failed("missing email or phone")
    user = await auth_users.find_by_email(services, email)
    if user is None or not user["encrypted_password"]:
        raise invalid_credentials()
    if auth_users.is_banned(user):
        raise user_banned()
    stored = user["encrypted_password"]
    valid = await in_thread(services.disk, verify_password, password, stored)
    await auth_hooks.password_attempted(services, user["id"], valid=valid)
    if not valid:
        raise invalid_credentials()
    if user["email_confirmed_at"] is None:
        raise email_not_confirmed()
    async with transaction(services) as cursor:
        return await _open(cursor, services, issuer, user)


async def refresh(services: Services, issuer: str, token: str) -> dict[str, Any]:
    """Exchange a refresh token for a new one, in one transaction with the hook's word."""
    if not _TOKEN.fullmatch(token):
        raise validation_failed("Refresh token is not valid")
    async with transaction(services) as cursor:
        session = await _lock_session(cursor, token)
        user = await _user_of(cursor, session)
        given = await _successor(cursor, token, services.config.refresh_reuse_seconds)
        if given is not None:
            return await _issue(
                cursor, services, issuer, user, session, given, method="token_refresh"
            )
        await _revoke_family(cursor, session)
    raise refresh_token_reused()


async def _open(cursor: Cursor, services: Services, issuer: str, user: Row) -> dict[str, Any]:
    signed_in = "UPDATE auth.users SET last_sign_in_at = now() WHERE id = %s RETURNING *"
    opened = "INSERT INTO auth.sessions (user_id) VALUES (%s) RETURNING *"
    user = await first(cursor, signed_in, user["id"]) or user
    session = await first(cursor, opened, user["id"])
    assert session is not None  # noqa: S101 - RETURNING
    token = await _new_token(cursor, session["id"], parent=None)
    return await _issue(cursor, services, issuer, user, session, token, method="password")


async def _lock_session(cursor: Cursor, token: str) -> Row:
    """One exchange at a time in a session, whichever of its tokens is shown."""
    session = await first(
        cursor,
        "SELECT * FROM auth.sessions WHERE id ="
        " (SELECT session_id FROM auth.refresh_tokens WHERE token = %s) FOR UPDATE",
        token,
    )
    if session is None:
        raise refresh_token_not_found()
    return session


async def _user_of(cursor: Cursor, session: Row) -> Row:
    user = await first(cursor, "SELECT * FROM auth.users WHERE id = %s", session["user_id"])
    if user is None:
        raise refresh_token_not_found()
    if auth_users.is_banned(user):
        raise user_banned("Invalid Refresh Token: User Banned")
    return user


async def _successor(cursor: Cursor, token: str, reuse_seconds: int) -> str | None:
    """Return the token to give for this one; None when it is one too old.

    A spent token is good for its successor while that is the session's newest: the client has
    not got the answer. Within the reuse interval any spent one is good for a new one, even one
    that was spent with its whole family: so does Auth.
    """
    shown = await first(cursor, "SELECT * FROM auth.refresh_tokens WHERE token = %s", token)
    if shown is None:
        raise refresh_token_not_found()
    if shown["revoked"]:
        newest = await first(
            cursor,
            "SELECT token, parent FROM auth.refresh_tokens"
            " WHERE session_id = %s AND NOT revoked ORDER BY id DESC LIMIT 1",
            shown["session_id"],
        )
        if newest is not None and newest["parent"] == token:
            return str(newest["token"])
        if datetime.now(UTC) > shown["updated_at"] + timedelta(seconds=reuse_seconds):
            return None
    spent = "UPDATE auth.refresh_tokens SET revoked = true, updated_at = now() WHERE id = %s"
    await cursor.execute(spent, (shown["id"],))
    return await _new_token(cursor, shown["session_id"], parent=token)


async def _revoke_family(cursor: Cursor, session: Row) -> None:
    await cursor.execute(
        "UPDATE auth.refresh_tokens SET revoked = true, updated_at = now()"
        " WHERE session_id = %s AND NOT revoked",
        (session["id"],),
    )


async def _new_token(cursor: Cursor, session_id: object, parent: str | None) -> str:
    token = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    insert = "INSERT INTO auth.refresh_tokens (token, session_id, parent) VALUES (%s, %s, %s)"
    await cursor.execute(insert, (token, session_id, parent))
    return token


async def end_sessions(services: Services, user_id: str, session_id: str, scope: str) -> None:
    """Sign out: of this session, of the others, or of all."""
    condition = {"local": " AND id = %s", "others": " AND id <> %s"}.get(scope, "")
    condition = condition if session_id else ""  # a token without a session ends them all
    values = (user_id, session_id) if condition else (user_id,)
    await services.database.transaction(
        (f"DELETE FROM auth.sessions WHERE user_id = %s{condition}", values)  # noqa: S608 - ours
    )


async def is_open(services: Services, session_id: str) -> bool:
    """Say whether a session has not ended."""
    query = ("SELECT 1 FROM auth.sessions WHERE id::text = %s", (session_id,))
    return await services.database.one(query) is not None


async def _issue(
    cursor: Cursor,
    services: Services,
    issuer: str,
    user: Row,
    session: Row,
    refresh_token: str,
    *,
    method: Method,
) -> dict[str, Any]:
    """Return the answer to a grant; the hook may change the claims, not what is said of them."""
    seconds, now = services.config.access_token_seconds, int(time.time())
    claims = {
        "iss": issuer,
        "sub": str(user["id"]),
        "aud": user["aud"],
        "exp": now + seconds,
        "iat": now,
        "email": user["email"],
        "phone": "",
        "app_metadata": user["raw_app_meta_data"],
        "user_metadata": user["raw_user_meta_data"],
        "role": user["role"],
        "aal": "aal1",
        "amr": [{"method": "password", "timestamp": int(session["created_at"].timestamp())}],
        "session_id": str(session["id"]),
        "is_anonymous": False,
    }
    claims = await auth_hooks.token_issued(cursor, services, user["id"], claims, method)
    return {
        "access_token": services.keys.sign(claims),
        "token_type": "bearer",
        "expires_in": seconds,
        "expires_at": now + seconds,
        "refresh_token": refresh_token,
        "user": auth_users.shape(user),
    }
