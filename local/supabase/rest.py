"""What all REST handlers share: who asks, JSON in, JSON out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from local.supabase import errors
from local.supabase.database import Scope
from local.supabase.listing import timestamp
from local.supabase.services import services_of
from local.supabase.transfer import document_of

Handler = Callable[[Request], Awaitable[ASGIApp]]
_ANON = Scope("anon", {"role": "anon"})


class JSON(Response):
    """An answer in JSON, with dates as JavaScript writes them."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the content."""
        return json.dumps(content, default=_encode, separators=(",", ":")).encode()


def _encode(value: object) -> str | None:
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")


def bearer(request: Request) -> str | None:
    """Return the token of the Authorization header."""
    value = request.headers.get("authorization")
    if value is None:
        return None
    scheme, _, token = value.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else value


def caller(request: Request) -> Scope:
    """Return who asks, or refuse."""
    token = bearer(request)
    if token is None:
        message = "headers must have required property 'authorization'"
        raise errors.StorageError("InvalidRequest", 400, message, error="Error")
    return services_of(request).scope_of(token)


def caller_or_anon(request: Request) -> tuple[Scope, bool]:
    """Return who asks and whether they proved it; a bad token is anon, as upstream."""
    token = bearer(request)
    if not token:
        return _ANON, False
    try:
        return services_of(request).scope_of(token), True
    except errors.StorageError:
        return _ANON, False


async def json_object(request: Request, *required: str) -> dict[str, Any]:
    """Read a JSON object with the required members."""
    try:
        body = json.loads(await document_of(request) or b"{}")
    except ValueError as error:
        raise errors.invalid_request("Body is not valid JSON") from error
    if not isinstance(body, dict):
        raise _invalid("body must be object")
    for name in required:
        if name not in body:
            raise _invalid(f"body must have required property '{name}'")
    return body


def _invalid(message: str) -> errors.StorageError:
    return errors.StorageError("InvalidRequest", 400, message, error="Error")


def text_of(body: dict[str, Any], name: str, default: str = "") -> str:
    """Return a member that must be a string."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise _invalid(f"body/{name} must be string")
    return value


def number_of(body: dict[str, Any], name: str, default: int, *, least: int = 0) -> int:
    """Return a member that must be a whole number."""
    value = body.get(name)
    if value is None:
        return default
    try:
        number = int(value)
    except (TypeError, ValueError) as error:
        raise _invalid(f"body/{name} must be integer") from error
    if number < least:
        raise _invalid(f"body/{name} must be >= {least}")
    return number


def texts_of(body: dict[str, Any], name: str, most: int) -> list[str]:
    """Return a member that must be a list of 1 to `most` strings."""
    value = body.get(name)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _invalid(f"body/{name} must be array")
    if not 1 <= len(value) <= most:
        raise _invalid(f"body/{name} must have 1 to {most} items")
    return value
