"""Agents, as the operator sees them: a user of Supabase Auth and a row."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from uuid import UUID

import httpx
from sqlalchemy.dialects.postgresql import insert

from argosy.auth import agent_email
from argosy.errors import AccessDenied, InvalidRequest, StorageUnavailable
from argosy.settings import FleetSettings
from models import Agent, Role
from models.database import one_session
from models.transitions import record

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class NewAgent:
    """An agent that was just made. The key is shown once and kept nowhere."""

    id: UUID
    name: str
    role: Role
    key: str


def add_agent(settings: FleetSettings, name: str, role: Role) -> NewAgent:
    """Create the user in Supabase Auth, and its row.

    Raises InvalidRequest for a bad or taken name, AccessDenied when the service
    key is wrong, StorageUnavailable when Auth cannot be reached.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(f"Agent name {name!r}: lower-case letters, digits and . _ - only.")
    key = secrets.token_urlsafe(32)
    agent_id = _create_user(settings, name, key)
    with one_session(settings.database_url) as session:
        session.execute(insert(Agent).values(id=agent_id, name=name, role=role))
        record(session, "agent.added", agent_id=agent_id, detail={"name": name, "role": role})
    return NewAgent(agent_id, name, role, key)


def _create_user(settings: FleetSettings, name: str, key: str) -> UUID:
    service_key = settings.supabase_service_role_key.get_secret_value()
    try:
        response = httpx.post(
            f"{settings.supabase_url}/auth/v1/admin/users",
            headers={"apikey": service_key, "Authorization": f"Bearer {service_key}"},
            json={"email": agent_email(name), "password": key, "email_confirm": True},
            timeout=15,
        )
    except httpx.HTTPError as error:
        raise StorageUnavailable(
            f"Supabase Auth cannot be reached ({type(error).__name__}): try again."
        ) from None
    if response.status_code in (401, 403):
        raise AccessDenied("Supabase Auth refuses the service key: check its setting.")
    if response.status_code in (400, 409, 422):
        raise InvalidRequest(f"Supabase Auth does not take agent {name!r}: is there one already?")
    if not response.is_success:
        raise StorageUnavailable(f"Supabase Auth answered {response.status_code}: try again.")
    return UUID(response.json()["id"])
