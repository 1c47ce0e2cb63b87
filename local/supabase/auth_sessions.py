"""Sessions: access tokens that are short, refresh tokens that rotate."""

from __future__ import annotations

import secrets
import time
from typing import Any

from local.supabase import auth_users
from local.supabase.auth_errors import (
    invalid_credentials,
    refresh_token_not_found,
    refresh_token_reused,
    user_banned,
)
from local.supabase.database import Row
from local.supabase.passwords import verify_password
from local.supabase.services import Services
from local.supabase.transfer import in_thread


async def sign_in(services: Services, issuer: str, email: str, password: str) -> dict[str, Any]:
    """Exchange an email and a password for a new session."""
    user = await auth_users.find_by_email(services, email)
    stored = user["encrypted_password"] if user else None
    if not await in_thread(services.disk, verify_password, password, stored) or user is None:
        raise invalid_credentials()
    if auth_users.is_banned(user):
        raise user_banned()
    results = await services.database.transaction(
        ("UPDATE auth.users SET last_sign_in_at = now() WHERE id = %s RETURNING *", (user["id"],)),
        ("INSERT INTO auth.sessions (user_id) VALUES (%s) RETURNING id", (user["id"],)),
    )
    session_id = str(results[1][0]["id"])
    token = _new_token()
    await services.database.transaction(
        (
            "INSERT INTO auth.refresh_tokens (token, session_id) VALUES (%s, %s)",
            (token, session_id),
        )
    )
    return _session(services, issuer, results[0][0], session_id, token)


async def refresh(services: Services, issuer: str, token: str) -> dict[str, Any]:
    """Exchange a refresh token for a new one.

    Exactly one request wins the exchange; a late one within the reuse interval is given the
    session's live token, so that a lost answer does not end the session.
    """
    fresh = _new_token()
    results = await services.database.transaction(
        (
            "WITH spent AS (UPDATE auth.refresh_tokens SET revoked = true, updated_at = now()"
            " WHERE token = %s AND NOT revoked RETURNING session_id)"
            " INSERT INTO auth.refresh_tokens (token, session_id, parent)"
            " SELECT %s, session_id, %s FROM spent RETURNING session_id",
            (token, fresh, token),
        )
    )
    if not results[0]:
        fresh = await _token_after(services, token)
    user, session_id = await _user_of(services, fresh)
    if auth_users.is_banned(user):
        raise user_banned()
    return _session(services, issuer, user, session_id, fresh)


async def _token_after(services: Services, token: str) -> str:
    """Return the live token of the session when `token` was exchanged a moment ago.

    One that was exchanged longer ago is a stolen one, or its thief's: the family ends.
    """
    row = await services.database.one(
        (
            "SELECT old.session_id, live.token AS live,"
            " old.updated_at > now() - make_interval(secs => %s) AS recent"
            " FROM auth.refresh_tokens AS old LEFT JOIN auth.refresh_tokens AS live"
            " ON live.session_id = old.session_id AND NOT live.revoked"
            " WHERE old.token = %s ORDER BY live.id DESC LIMIT 1",
            (services.config.refresh_reuse_seconds, token),
        )
    )
    if row is None:
        raise refresh_token_not_found()
    if row["recent"] and row["live"]:
        return str(row["live"])
    await end_session(services, str(row["session_id"]))
    raise refresh_token_reused()


async def _user_of(services: Services, token: str) -> tuple[Row, str]:
    row = await services.database.one(
        (
            "SELECT users.*, sessions.id AS session_id FROM auth.refresh_tokens AS tokens"
            " JOIN auth.sessions AS sessions ON sessions.id = tokens.session_id"
            " JOIN auth.users AS users ON users.id = sessions.user_id WHERE tokens.token = %s",
            (token,),
        )
    )
    if row is None:
        raise refresh_token_not_found()
    return row, str(row["session_id"])


async def end_session(services: Services, session_id: str) -> None:
    """Revoke every refresh token of a session; the rows stay, to tell reuse from nonsense."""
    await services.database.transaction(
        ("UPDATE auth.refresh_tokens SET revoked = true WHERE session_id = %s", (session_id,))
    )


async def end_sessions(services: Services, user_id: str, session_id: str, scope: str) -> None:
    """Sign out: of this session, of the others, or of all."""
    condition = {"local": " AND id = %s", "others": " AND id <> %s"}.get(scope, "")
    values = (user_id, session_id) if condition else (user_id,)
    await services.database.transaction(
        (f"DELETE FROM auth.sessions WHERE user_id = %s{condition}", values)  # noqa: S608 - ours
    )


def _new_token() -> str:
    return secrets.token_urlsafe(16)


def _session(
    services: Services, issuer: str, user: Row, session_id: str, refresh_token: str
) -> dict[str, Any]:
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
        "amr": [{"method": "password", "timestamp": now}],
        "session_id": session_id,
        "is_anonymous": False,
    }
    return {
        "access_token": services.keys.sign(claims),
        "token_type": "bearer",
        "expires_in": seconds,
        "expires_at": now + seconds,
        "refresh_token": refresh_token,
        "user": auth_users.shape(user),
    }
