"""What every request handler needs, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from starlette.requests import Request

from local.supabase.config import Config
from local.supabase.database import Database, Scope
from local.supabase.disk import Disk
from local.supabase.keys import KeyRing


@dataclass(frozen=True)
class Services:
    """The settings, the keys, the database and the disk of one server process."""

    config: Config
    keys: KeyRing
    database: Database
    disk: Disk

    def scope_of(self, token: str) -> Scope:
        """Return the role and claims a token speaks for."""
        claims = self.keys.verify(token)
        return Scope(str(claims.get("role") or "anon"), claims, token)


def services_of(request: Request) -> Services:
    """Return the services of the application that serves the request."""
    return cast(Services, request.app.state.services)
