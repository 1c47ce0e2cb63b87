"""Agents, as the operator sees them: a user of Supabase Auth, one of RabbitMQ, and a row.

The row decides: row-level security and the fleet look at nothing else. It comes last when
something is allowed and first when something is forbidden, so that each of these acts may be
repeated after it was interrupted. Two on the same agent wait for each other.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from argosy.errors import InvalidRequest
from argosy.fields import AGENT_NAME
from argosy.settings import FleetSettings, SettingsError
from models import Agent, Role
from models.database import one_session
from models.transitions import record
from worker.auth_admin import AuthAdmin
from worker.broker_users import BrokerUsers
from worker.mailboxes import open_mailbox

_NAME = re.compile(rf"{AGENT_NAME}(?<!\.dead)")
"""`messages.x.dead` is the queue of x's dead letters, and not of an agent x.dead."""


@dataclass(frozen=True)
class Credentials:
    """What an agent signs in with. They are shown once and kept nowhere."""

    id: UUID
    name: str
    role: Role
    key: str = field(repr=False)
    broker_url: str | None = field(repr=False)
    """None where the broker has no user for it."""


def add_agent(settings: FleetSettings, name: str, role: Role) -> Credentials:
    """Create an agent, or finish what an interrupted command began.

    Raises InvalidRequest for a bad or taken name, SettingsError when the database
    is not the operator's, AccessDenied when the service key is wrong,
    StorageUnavailable when Auth cannot be reached, BrokerApiError when RabbitMQ's
    API cannot be used, BrokerUnready when the broker itself cannot.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"Agent name {name!r}: at most 63 lower-case letters, digits and . _ - , "
            "a letter or digit first, and not .dead at the end."
        )
    key = _new_key()
    with _acting_on(settings, name) as session:
        if _find(session, name):
            raise InvalidRequest(
                f"Agent {name!r} is there already: `argosy agents rotate-key {name}` "
                "gives it a new key."
            )
        agent_id = AuthAdmin(settings).take_in(name, key, is_agent=partial(_is_agent, session))
        users = BrokerUsers.of(settings)
        broker_url = users.take_in(name) if users else None
        session.add(Agent(id=agent_id, name=name, role=role))
        record(session, "agent.added", agent_id=agent_id, detail={"name": name, "role": role})
        session.flush()  # what PostgreSQL refuses is not granted at the broker
        open_mailbox(settings, name)
        if users:
            users.grant(name)
    return Credentials(agent_id, name, role, key, broker_url)


def list_agents(settings: FleetSettings) -> list[Agent]:
    """Every agent, by name."""
    with one_session(settings.operator_url) as session:
        return list(session.scalars(select(Agent).order_by(Agent.name)))


def disable_agent(settings: FleetSettings, name: str) -> None:
    """Shut an agent out: of Storage at once, then of Auth and of the broker.

    Raises InvalidRequest when there is no such agent, and what add_agent raises.
    """
    with _acting_on(settings, name) as session:
        agent = find_agent(session, name)
        if agent.disabled_at is None:
            agent.disabled_at = datetime.now(UTC)
            record(session, "agent.disabled", agent_id=agent.id, detail={"name": name})
    with _acting_on(settings, name) as session:
        agent = find_agent(session, name)
        if agent.disabled_at is not None:  # else somebody has enabled it in between
            _shut_out(settings, agent)


def enable_agent(settings: FleetSettings, name: str) -> bool:
    """Let a disabled agent in again; False when the broker has no user for it.

    Raises what disable_agent raises.
    """
    with _acting_on(settings, name) as session:
        agent = find_agent(session, name)
        open_mailbox(settings, name)
        AuthAdmin(settings).unban(agent.id)
        users = BrokerUsers.of(settings)
        at_broker = users is not None and users.grant(name)
        if agent.disabled_at is not None:
            agent.disabled_at = None
            record(session, "agent.enabled", agent_id=agent.id, detail={"name": name})
        return at_broker


def rotate_key(settings: FleetSettings, name: str) -> Credentials:
    """Give an agent a new key and a new broker password; the old ones end at once.

    A disabled agent stays so. Raises what disable_agent raises.
    """
    key = _new_key()
    with _acting_on(settings, name) as session:
        agent = find_agent(session, name)
        open_mailbox(settings, name)
        AuthAdmin(settings).set_key(agent.id, key)
        users = BrokerUsers.of(settings)
        broker_url = users.take_in(name) if users else None
        if users and agent.disabled_at is None:
            users.grant(name)
        record(session, "agent.key_rotated", agent_id=agent.id, detail={"name": name})
    return Credentials(agent.id, name, Role(agent.role), key, broker_url)


def limit_agent(settings: FleetSettings, name: str, **limits: int | None) -> Agent:
    """Change limits of an agent, by their columns; None gives it the fleet's own.

    Workers heed a rate within a minute, everything else with the next transfer. Raises
    InvalidRequest when there is no such agent, SettingsError when the database is not the
    operator's.
    """
    with _acting_on(settings, name) as session:
        agent = find_agent(session, name)
        changed = {
            column: value for column, value in limits.items() if getattr(agent, column) != value
        }
        for column, value in changed.items():
            setattr(agent, column, value)
        if changed:
            record(session, "agent.limited", agent_id=agent.id, detail={"name": name, **changed})
    return agent


@contextmanager
def _acting_on(settings: FleetSettings, name: str) -> Iterator[Session]:
    """One transaction, which no other command on the same agent shares."""
    with one_session(settings.operator_url) as session:
        lock = func.hashtextextended(f"argosy agents {name}", 0)
        _be_the_operator(session)
        session.execute(select(func.pg_advisory_xact_lock(lock)))
        yield session


def _be_the_operator(session: Session) -> None:
    """Before anything is done elsewhere that the row would not follow."""
    if not session.scalar(select(func.has_table_privilege("argosy.agents", "INSERT"))):
        user = session.scalar(select(func.current_user()))
        raise SettingsError(
            f"{user} may not change agents: set ARGOSY_OPERATOR_DATABASE_URL to the owner of "
            "schema argosy."
        )


def _is_agent(session: Session, agent_id: UUID) -> bool:
    return session.get(Agent, agent_id) is not None


def _find(session: Session, name: str) -> Agent | None:
    return session.scalars(select(Agent).where(Agent.name == name)).one_or_none()


def find_agent(session: Session, name: str) -> Agent:
    """The row of an agent. Raises InvalidRequest when there is no such agent."""
    agent = _find(session, name)
    if agent is None:
        raise InvalidRequest(f"There is no agent {name!r}: see `argosy agents list`.")
    return agent


def _new_key() -> str:
    """Recognizable in a leak, and with every kind of character that a project may insist on."""
    return f"Argosy1_{secrets.token_urlsafe(32)}"


def _shut_out(settings: FleetSettings, agent: Agent) -> None:
    try:
        AuthAdmin(settings).ban(agent.id)
    finally:  # one of them being away is no reason to leave the other open
        if users := BrokerUsers.of(settings):
            users.shut_out(agent.name)
