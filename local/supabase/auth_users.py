"""Users: their rows, and the shape in which Auth shows them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from local.supabase import errors
from local.supabase.auth_errors import AuthError, user_not_found, validation_failed
from local.supabase.database import Row, Statement
from local.supabase.passwords import hash_password
from local.supabase.services import Services

_DURATION = re.compile(r"(\d+\.?\d*|\.\d+)(h|ms|m|s|us|µs|μs|ns)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6}
_LONGEST_SECONDS = 2**63 / 1e9
_PASSWORD_LENGTHS = range(6, 73)
MAX_PAGE = 1000


def shape(row: Row) -> dict[str, Any]:
    """Return a user as Auth shows one."""
    shown = {
        "id": row["id"],
        "aud": row["aud"],
        "role": row["role"],
        "email": row["email"],
        "phone": "",
        "email_confirmed_at": row["email_confirmed_at"],
        "confirmed_at": row["email_confirmed_at"],
        "last_sign_in_at": row["last_sign_in_at"],
        "app_metadata": row["raw_app_meta_data"],
        "user_metadata": row["raw_user_meta_data"],
        "identities": [],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "is_anonymous": False,
    }
    if row["banned_until"]:
        shown["banned_until"] = row["banned_until"]
    return shown


def is_banned(row: Row) -> bool:
    """Say whether the user is disabled now."""
    until = row["banned_until"]
    return until is not None and until > datetime.now(UTC)


def banned_until(duration: str) -> datetime | None:
    """Read a Go duration such as 24h or 1h30m; `none` and nought end a ban."""
    seconds = 0.0 if duration == "none" else _seconds(duration)
    return datetime.now(UTC) + timedelta(seconds=seconds) if seconds else None


def _seconds(duration: str) -> float:
    sign, text = (-1, duration[1:]) if duration.startswith("-") else (1, duration.removeprefix("+"))
    parts = _DURATION.findall(text)
    seconds = sum(float(amount) * _SECONDS.get(unit, 1e-9) for amount, unit in parts)
    whole = "".join(amount + unit for amount, unit in parts) == text and bool(parts)
    if not (whole or text == "0") or seconds >= _LONGEST_SECONDS:
        wrong = f'time: invalid duration "{duration}"'
        raise validation_failed(f"invalid format for ban duration: {wrong}")
    return sign * seconds


def _columns(body: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that a request sets."""
    columns: dict[str, Any] = {}
    if body.get("email"):
        columns["email"] = str(body["email"]).strip().lower()
    if body.get("password"):
        columns["encrypted_password"] = hash_password(str(body["password"]))
    if body.get("email_confirm"):
        columns["email_confirmed_at"] = datetime.now(UTC)
    if body.get("ban_duration"):
        columns["banned_until"] = banned_until(str(body["ban_duration"]))
    if body.get("role"):
        columns["role"] = str(body["role"])
    return columns


async def create(services: Services, body: dict[str, Any]) -> Row:
    """Create a user."""
    columns = _columns(body)
    if "email" not in columns:
        raise validation_failed("Cannot create a user without either an email or phone")
    provider = {"provider": "email", "providers": ["email"]}
    columns["raw_app_meta_data"] = Jsonb({**provider, **(body.get("app_metadata") or {})})
    columns["raw_user_meta_data"] = Jsonb(body.get("user_metadata") or {})
    if body.get("id"):
        columns["id"] = _uuid(str(body["id"]))
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    statement = (
        f"INSERT INTO auth.users ({names}) VALUES ({marks}) RETURNING *",  # noqa: S608 - names are ours
        tuple(columns.values()),
    )
    try:
        row = await services.database.one(statement)
    except errors.StorageError as error:
        if error.code != "ResourceAlreadyExists":
            raise
        message = "A user with this email address has already been registered"
        raise AuthError(422, "email_exists", message) from error
    if row is None:
        raise AuthError(500, "unexpected_failure", "the user was not created")
    return row


async def update(services: Services, user_id: str, body: dict[str, Any]) -> Row:
    """Change a user; metadata is merged, and a null in it removes a member.

    A new password ends every session of the user.
    """
    if body.get("password") is not None:
        _check_password(str(body["password"]))
    columns = _columns(body)
    assignments = [f"{name} = %s" for name in columns]
    values = list(columns.values())
    for member in ("app_metadata", "user_metadata"):
        if body.get(member) is not None:
            column = f"raw_{member.replace('_metadata', '_meta_data')}"
            assignments.append(f"{column} = jsonb_strip_nulls({column} || %s)")
            values.append(Jsonb(body[member]))
    sets = ", ".join([*assignments, "updated_at = now()"])
    uuid = _uuid(user_id)
    ended = ("DELETE FROM auth.sessions WHERE user_id = %s", (uuid,))
    row = await services.database.one(
        *([ended] if "encrypted_password" in columns else []),
        (f"UPDATE auth.users SET {sets} WHERE id = %s RETURNING *", (*values, uuid)),  # noqa: S608 - names are ours
    )
    return _found(row)


def _check_password(password: str) -> None:
    length = len(password.encode())
    if length >= _PASSWORD_LENGTHS.stop:
        raise validation_failed("Password cannot be longer than 72 characters")
    if length < _PASSWORD_LENGTHS.start:
        raise AuthError(422, "weak_password", "Password should be at least 6 characters.")


async def find(services: Services, user_id: str) -> Row:
    """Return a user by id."""
    return _found(await services.database.one(_by_id(user_id)))


async def find_by_id(services: Services, subject: str) -> Row | None:
    """Return the user that a token is about, if there still is one."""
    try:
        uuid = UUID(subject)
    except ValueError as error:
        message = "invalid claim: sub claim must be a UUID"
        raise AuthError(400, "bad_jwt", message) from error
    return await services.database.one(("SELECT * FROM auth.users WHERE id = %s", (uuid,)))


async def find_by_email(services: Services, email: str) -> Row | None:
    """Return a user by email, if there is one."""
    statement = ("SELECT * FROM auth.users WHERE email = %s", (email.strip().lower(),))
    return await services.database.one(statement)


async def delete(services: Services, user_id: str) -> None:
    """Delete a user and their sessions."""
    statement = ("DELETE FROM auth.users WHERE id = %s RETURNING *", (_uuid(user_id),))
    _found(await services.database.one(statement))


async def list_page(services: Services, page: int, size: int) -> tuple[list[Row], int]:
    """Return one page of users and how many there are in all."""
    results = await services.database.transaction(
        ("SELECT count(*) AS total FROM auth.users", ()),
        (
            "SELECT * FROM auth.users ORDER BY created_at DESC, id LIMIT %s OFFSET %s",
            (size, (page - 1) * size),
        ),
    )
    return results[1], results[0][0]["total"]


def _by_id(user_id: str) -> Statement:
    return "SELECT * FROM auth.users WHERE id = %s", (_uuid(user_id),)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise validation_failed("user_id must be an UUID", 404) from error


def _found(row: Row | None) -> Row:
    if row is None:
        raise user_not_found()
    return row
