"""Refusals of Auth, in its own JSON."""

from __future__ import annotations


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


def user_not_found() -> AuthError:
    """No user has this id."""
    return AuthError(404, "user_not_found", "User not found")


def invalid_credentials() -> AuthError:
    """The email or the password is wrong; which of them is not said."""
    return AuthError(400, "invalid_credentials", "Invalid login credentials")


def user_banned() -> AuthError:
    """The user is disabled."""
    return AuthError(400, "user_banned", "User is banned")


def refresh_token_not_found() -> AuthError:
    """Nobody was given this refresh token, or its session is over."""
    return AuthError(
        400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found"
    )


def refresh_token_reused() -> AuthError:
    """A refresh token came back after it was exchanged: the whole family ends."""
    return AuthError(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")
