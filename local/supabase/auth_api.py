"""Auth's HTTP API, in the shape of GoTrue."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.supabase import auth_sessions, auth_users, errors
from local.supabase.auth_errors import (
    AuthError,
    session_not_found,
    user_banned,
    validation_failed,
)
from local.supabase.database import Row
from local.supabase.keys import Claims
from local.supabase.rest import JSON, Handler, bearer
from local.supabase.services import services_of
from local.supabase.transfer import document_of


async def token(request: Request) -> Response:
    """Give a session for a password or for a refresh token."""
    services, body = services_of(request), await _body(request)
    issuer = f"{request.url.scheme}://{request.url.netloc}/auth/v1"
    grant = request.query_params.get("grant_type")
    if grant == "password":
        email, password = str(body.get("email") or ""), str(body.get("password") or "")
        return JSON(await auth_sessions.sign_in(services, issuer, email, password))
    if grant == "refresh_token":
        refresh_token = str(body.get("refresh_token") or "")
        return JSON(await auth_sessions.refresh(services, issuer, refresh_token))
    raise AuthError(400, "invalid_credentials", "unsupported_grant_type")


async def user(request: Request) -> Response:
    """Describe the caller."""
    return JSON(auth_users.shape(await _signed_in(request)))


async def logout(request: Request) -> Response:
    """End the caller's sessions."""
    row = await _signed_in(request)
    scope = request.query_params.get("scope") or "global"
    if scope not in ("global", "local", "others"):
        raise validation_failed(f'Unsupported logout scope "{scope}"')
    session_id = str(_claims(request).get("session_id") or "")
    await auth_sessions.end_sessions(services_of(request), str(row["id"]), session_id, scope)
    return Response(status_code=204)


async def create_user(request: Request) -> Response:
    """Create a user."""
    _must_be_service(request)
    row = await auth_users.create(services_of(request), await _body(request))
    return JSON(auth_users.shape(row))


async def list_users(request: Request) -> Response:
    """List the users."""
    _must_be_service(request)
    query = request.query_params
    page = int(query["page"]) if query.get("page", "").isdigit() else 1
    size = int(query["per_page"]) if query.get("per_page", "").isdigit() else 50
    size = min(max(size, 1), auth_users.MAX_PAGE)
    rows, total = await auth_users.list_page(services_of(request), max(page, 1), size)
    content = {"users": [auth_users.shape(row) for row in rows], "aud": "authenticated"}
    return JSON(content, headers={"x-total-count": str(total)})


async def get_user(request: Request) -> Response:
    """Describe a user."""
    _must_be_service(request)
    row = await auth_users.find(services_of(request), request.path_params["id"])
    return JSON(auth_users.shape(row))


async def update_user(request: Request) -> Response:
    """Change a user; `ban_duration` disables one, and a new password ends every session."""
    _must_be_service(request)
    body = await _body(request)
    row = await auth_users.update(services_of(request), request.path_params["id"], body)
    return JSON(auth_users.shape(row))


async def delete_user(request: Request) -> Response:
    """Delete a user."""
    _must_be_service(request)
    await auth_users.delete(services_of(request), request.path_params["id"])
    return JSON({})


async def jwks(request: Request) -> Response:
    """Publish the public keys."""
    headers = {"cache-control": "public, max-age=600"}
    return JSON(services_of(request).keys.jwks(), headers=headers)


async def health(request: Request) -> Response:
    """Say which server this is."""
    del request
    return JSON({"version": "local", "name": "GoTrue", "description": "local stand-in"})


async def settings(request: Request) -> Response:
    """Say what is switched on."""
    del request
    return JSON({"external": {"email": True}, "disable_signup": True, "mailer_autoconfirm": True})


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await document_of(request) or b"{}")
    except ValueError as error:
        message = "Could not parse request body as JSON"
        raise AuthError(400, "bad_json", message) from error
    if not isinstance(body, dict):
        raise AuthError(400, "bad_json", "The request body must be an object")
    return body


def _claims(request: Request) -> Claims:
    given = bearer(request)
    if not given:
        message = "This endpoint requires a valid Bearer token"
        raise AuthError(401, "no_authorization", message)
    try:
        return services_of(request).keys.verify(given)
    except errors.StorageError as error:
        message = f"invalid JWT: unable to parse or verify signature, {error.message}"
        raise AuthError(403, "bad_jwt", message) from error


async def _signed_in(request: Request) -> Row:
    """Return the user of an access token whose session is still open."""
    claims, services = _claims(request), services_of(request)
    subject, session_id = str(claims.get("sub") or ""), str(claims.get("session_id") or "")
    if not subject:
        raise AuthError(403, "bad_jwt", "invalid claim: missing sub claim")
    row = await auth_users.find_by_id(services, subject)
    if row is None:
        message = "User from sub claim in JWT does not exist"
        raise AuthError(403, "user_not_found", message)
    if session_id and not await auth_sessions.is_open(services, session_id):
        raise session_not_found()
    if auth_users.is_banned(row):
        raise user_banned(status=403)
    return row


def _must_be_service(request: Request) -> None:
    if _claims(request).get("role") not in ("service_role", "supabase_admin"):
        raise AuthError(403, "not_admin", "User not allowed")


async def refuse(request: Request, error: Exception) -> Response:
    """Answer a refusal in the words of Auth."""
    del request
    assert isinstance(error, AuthError)  # noqa: S101 - registered for nothing else
    return JSON(error.body(), error.status, headers={"x-sb-error-code": error.code})


_TABLE: list[tuple[str, str, Handler]] = [
    ("POST", "/token", token),
    ("GET", "/user", user),
    ("POST", "/logout", logout),
    ("POST", "/admin/users", create_user),
    ("GET", "/admin/users", list_users),
    ("GET", "/admin/users/{id}", get_user),
    ("PUT", "/admin/users/{id}", update_user),
    ("DELETE", "/admin/users/{id}", delete_user),
    ("GET", "/.well-known/jwks.json", jwks),
    ("GET", "/health", health),
    ("GET", "/settings", settings),
]
ROUTES = [Route(path, endpoint, methods=[method]) for method, path, endpoint in _TABLE]
