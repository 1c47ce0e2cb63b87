"""Hashing passwords with scrypt."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

_N, _R, _P = 2**13, 8, 1


def hash_password(password: str) -> str:
    """Return the salted hash of a password."""
    salt = os.urandom(16)
    return f"scrypt${_encode(salt)}${_encode(_derive(password, salt))}"


def verify_password(password: str, stored: str | None) -> bool:
    """Say whether the password is the one that was hashed."""
    if not stored:
        return False
    _, salt, expected = stored.split("$")
    derived = _derive(password, base64.b64decode(salt))
    return hmac.compare_digest(derived, base64.b64decode(expected))


def _derive(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=_N, r=_R, p=_P)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
