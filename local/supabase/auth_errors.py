"""Refusals of Auth, in its own JSON."""

from __future__ import annotations

import psycopg


class AuthError(Exception):
    """A request that Auth refuses."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> dict[str, object]:
        """Return the JSON document to answer with."""
        return {"code": self.status, "error_code": self.code, "msg": self.message}


class RaisedInHook(AuthError):
    """A hook raised an exception of the kinds that Auth passes on as they are."""

    def __init__(self, status: int, error: psycopg.Error) -> None:
        super().__init__(status, "unexpected_failure", error.diag.message_primary or "")
        self._diag = error.diag

    def body(self) -> dict[str, object]:
        """Return what PostgreSQL said."""
        said = {
            "code": self._diag.sqlstate,
            "message": self.message,
            "hint": self._diag.message_hint,
            "detail": self._diag.message_detail,
        }
        return {name: value for name, value in said.items() if value is not None}


def unexpected_failure(message: str) -> AuthError:
    """Something of Auth's own failed."""
    return AuthError(500, "unexpected_failure", message)


def conflict() -> AuthError:
    """Too many requests wait for the same session."""
    message = "Too many concurrent token refresh requests on the same session or refresh token"
    return AuthError(409, "conflict", message)


def validation_failed(message: str, status: int = 400) -> AuthError:
    """The request itself is malformed."""
    return AuthError(status, "validation_failed", message)


def user_not_found() -> AuthError:
    """No user has this id."""
    return AuthError(404, "user_not_found", "User not found")


def invalid_credentials(message: str = "Invalid login credentials") -> AuthError:
    """The email or the password is wrong; which of them is not said."""
    return AuthError(400, "invalid_credentials", message)


def email_not_confirmed() -> AuthError:
    """The user has not shown to own the email."""
    return AuthError(400, "email_not_confirmed", "Email not confirmed")


def user_banned(message: str = "User is banned", status: int = 400) -> AuthError:
    """The user is disabled."""
    return AuthError(status, "user_banned", message)


def refresh_token_not_found() -> AuthError:
    """Nobody was given this refresh token, or its session is over."""
    return AuthError(
        400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found"
    )


def refresh_token_reused() -> AuthError:
    """A refresh token came back long after it was exchanged: the whole family ends."""
    return AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")


def session_not_found() -> AuthError:
    """The session of an access token has ended."""
    message = "Session from session_id claim in JWT does not exist"
    return AuthError(403, "session_not_found", message)
