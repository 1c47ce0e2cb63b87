"""The public keys of a Supabase project, fetched from Auth and kept."""

from __future__ import annotations

import logging
import math
import threading
import time
from typing import Any

import httpx
import jwt

from argosy.errors import StorageUnavailable

log = logging.getLogger(__name__)

PAUSE_SECONDS = 10.0
"""Auth is asked no more often than this, whatever keys the tokens name."""
FRESH_SECONDS = 300.0
"""After this long the keys are fetched anew: one that was revoked must go."""
STALE_SECONDS = 3600.0
"""How long the keys are taken while Auth does not give newer ones."""
TIMEOUT_SECONDS = 5.0
TRANSIENT = frozenset({408, 425, 429})
"""Statuses that say "later" and not "no"."""


class ProjectKeys:
    """The keys in the project's JWKS (RFC 7517) by their ids.

    A key that is not known makes it ask Auth again, so a rotation is seen at
    once; but only every PAUSE_SECONDS, so forged key ids cost nothing.
    """

    def __init__(self, supabase_url: str) -> None:
        self._url = f"{supabase_url}/auth/v1/.well-known/jwks.json"
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at = self._fetched_at = -math.inf
        self._failed = False

    def find(self, key_id: str) -> jwt.PyJWK | None:
        """The key of that id, or None if the project has no such key.

        Raises StorageUnavailable when Auth does not tell.
        """
        if self._is_worth_asking(key_id):
            with self._lock:
                if self._is_worth_asking(key_id):  # nobody else has just asked
                    self._ask()
        key = self._keys.get(key_id)
        if key is None and self._failed:
            raise StorageUnavailable(
                "The public keys of Supabase Auth cannot be fetched: try again.",
                None,
                max(0.0, self._asked_at + PAUSE_SECONDS - time.monotonic()),
            )
        return key

    def _is_worth_asking(self, key_id: str) -> bool:
        now = time.monotonic()
        if now < self._asked_at + PAUSE_SECONDS:
            return False
        return key_id not in self._keys or now >= self._fetched_at + FRESH_SECONDS

    def _ask(self) -> None:
        try:
            self._keys = _fetch(self._url)
            self._fetched_at, self._failed = time.monotonic(), False
        except (httpx.HTTPError, ValueError, TypeError) as error:
            log.warning("jwks.unavailable", extra={"error": type(error).__name__})
            self._failed = not _says_there_are_none(error)
            if time.monotonic() >= self._fetched_at + STALE_SECONDS:
                self._keys = {}
        self._asked_at = time.monotonic()


def _says_there_are_none(error: Exception) -> bool:
    """Whether Auth has answered, and has no such page: a project without public keys."""
    if not isinstance(error, httpx.HTTPStatusError):
        return False
    return error.response.is_client_error and error.response.status_code not in TRANSIENT


def _fetch(url: str) -> dict[str, jwt.PyJWK]:
    document = httpx.get(url, timeout=TIMEOUT_SECONDS).raise_for_status().json()
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise TypeError("not a JWKS")
    keys = [key for item in document["keys"] if (key := _read(item))]
    return {key.key_id: key for key in keys if key.key_id}


def _read(item: Any) -> jwt.PyJWK | None:
    """A key that tokens may be signed with; None for any other, and for one we cannot read."""
    try:
        key = jwt.PyJWK(item)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
        return None
    signs = key.public_key_use in (None, "sig")
    return key if signs and isinstance(key.key_id, str) else None
