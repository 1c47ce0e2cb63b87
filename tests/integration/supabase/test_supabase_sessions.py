"""An agent's session with the local Auth: shared, renewed, stolen, ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from supabase_servers import SECRET, Postgres, Supabase

from argosy.auth import SignIn, agent_email
from argosy.errors import AccessDenied, StorageUnavailable
from argosy.session_file import SessionFile
from argosy.settings import AgentSettings, FleetSettings
from argosy.tokens import Verifier
from tests.agent_process import KILLED_BEFORE_IT_WRITES, KILLED_WHILE_IT_WRITES, AgentProcess

OTHERS = {"broker_url": "amqp://localhost", "result_url": "redis://localhost"}


@dataclass
class Agent:
    """An agent, its folder of sessions, and what the database says of them."""

    id: str
    name: str
    key: str
    folder: Path
    server: Supabase
    postgres: Postgres

    @property
    def file(self) -> SessionFile:
        return SessionFile(self.folder, self.server.url, self.name)

    def process(self) -> SignIn:
        """What a new process of the agent has."""
        settings = AgentSettings(
            supabase_url=self.server.url, supabase_anon_key=self.server.anon_key, **OTHERS
        )
        return SignIn(settings, self.name, self.key, self.file)

    def start(self, first: str = "") -> AgentProcess:
        anon_key = self.server.anon_key
        url = self.server.url
        return AgentProcess(url, self.name, self.key, self.folder, anon_key=anon_key, first=first)

    def age(self, seconds: float) -> None:
        """Let time pass for the session in the file."""
        found = self.file.read(self.key)
        assert found
        issued_at, expires_at = found.issued_at - seconds, found.expires_at - seconds
        self.file.write(replace(found, issued_at=issued_at, expires_at=expires_at), self.key)

    def refresh_token(self) -> str:
        found = self.file.read(self.key)
        assert found
        return found.refresh_token

    def history(self) -> list[tuple[object, ...]]:
        """(session's number, whether it is spent) of each refresh token, oldest first."""
        return self.postgres.execute(
            "SELECT dense_rank() OVER (ORDER BY sessions.created_at), revoked"
            " FROM auth.refresh_tokens JOIN auth.sessions ON sessions.id = session_id"
            " WHERE user_id = %s ORDER BY refresh_tokens.id",
            self.id,
        )

    def long_ago(self) -> None:
        """Whatever was spent, it was out of the reuse interval."""
        self.postgres.execute(
            "UPDATE auth.refresh_tokens SET updated_at = now() - interval '1 hour'"
            " WHERE session_id IN (SELECT id FROM auth.sessions WHERE user_id = %s)",
            self.id,
        )


@pytest.fixture
def agent(
    supabase: Supabase, auth: httpx.Client, postgres: Postgres, tmp_path: Path
) -> Iterator[Agent]:
    name, key = f"agent-{uuid4().hex[:12]}", uuid4().hex
    body = {"email": agent_email(name), "password": key, "email_confirm": True}
    made = auth.post("/admin/users", json=body).json()
    yield Agent(made["id"], name, key, tmp_path / "sessions", supabase, postgres)
    auth.delete(f"/admin/users/{made['id']}")


def test_the_fleet_takes_its_tokens(agent: Agent) -> None:
    settings = FleetSettings(
        supabase_url=agent.server.url,
        supabase_anon_key=agent.server.anon_key,
        supabase_service_role_key=agent.server.service_key,
        supabase_jwt_secret=SECRET,
        supabase_project_ref="local",
        database_url="postgresql://localhost/x",
        spool="/var/spool",
        **OTHERS,
    )
    tokens = [agent.process().token()]
    agent.age(900)
    tokens.append(agent.process().token())
    verified = [Verifier(settings).verify(token) for token in tokens]
    assert [str(identity.agent_id) for identity in verified] == [agent.id] * 2
    assert 890 < verified[1].expires_at - time.time() <= 900


def test_a_restart_needs_no_key(agent: Agent) -> None:
    first = agent.process().token()
    assert agent.process().token() == first
    for _ in range(3):
        agent.age(3600)
        agent.process().token()
    assert agent.history() == [(1, True)] * 3 + [(1, False)]


@pytest.mark.parametrize("reuse", ["within the interval", "long after"])
def test_threads_and_processes_refresh_once(agent: Agent, reuse: str) -> None:
    agent.process().token()
    agent.age(900)
    if reuse == "long after":
        agent.long_ago()
    children = [agent.start() for _ in range(4)]
    for child in children:
        child.go()
    assert len(set().union(*(child.tokens() for child in children))) == 1
    assert agent.history() == [(1, True), (1, False)]


def test_threads_and_processes_sign_in_once(agent: Agent) -> None:
    children = [agent.start() for _ in range(4)]
    for child in children:
        child.go()
    assert len(set().union(*(child.tokens() for child in children))) == 1
    assert agent.history() == [(1, False)]


@pytest.mark.parametrize("how", [KILLED_BEFORE_IT_WRITES, KILLED_WHILE_IT_WRITES])
def test_a_kill_between_the_answer_and_the_file(agent: Agent, how: str) -> None:
    agent.process().token()
    agent.age(900)
    before = agent.refresh_token()
    for _ in range(2):
        child = agent.start(how)
        child.go()
        assert child.is_killed()
        agent.long_ago()
    assert agent.refresh_token() == before
    agent.process().token()
    assert agent.history() == [(1, True), (1, False)]  # the dead ones' successor was given again
    agent.age(900)
    agent.process().token()
    assert agent.history() == [(1, True), (1, True), (1, False)]


def test_a_session_that_was_stolen_ends_and_the_key_opens_another(
    agent: Agent, auth: httpx.Client
) -> None:
    sign_in = agent.process()
    sign_in.token()
    stolen = {"refresh_token": agent.refresh_token()}
    for _ in range(2):
        agent.age(900)
        agent.process().token()
    agent.long_ago()
    thief = auth.post("/token?grant_type=refresh_token", json=stolen)
    assert thief.json()["error_code"] == "refresh_token_already_used"
    agent.long_ago()
    agent.age(900)
    agent.process().token()
    assert agent.history() == [(1, True)] * 3 + [(2, False)]


def test_a_restored_backup_of_the_file_heals(agent: Agent) -> None:
    """The file of two refreshes ago: Auth takes it for stolen, and the key opens a new session."""
    agent.process().token()
    [path] = agent.folder.glob("*.json")
    backup = path.read_bytes()
    for _ in range(2):
        agent.age(900)
        agent.process().token()
    agent.long_ago()
    path.write_bytes(backup)
    agent.age(900)
    agent.process().token()
    assert agent.history()[-1] == (2, False)


def test_a_new_key_ends_the_old_ones_session(agent: Agent, auth: httpx.Client) -> None:
    old = agent.process()
    old.token()
    new_key = uuid4().hex
    auth.put(f"/admin/users/{agent.id}", json={"password": new_key})
    agent.age(900)
    with pytest.raises(AccessDenied, match="invalid_credentials"):
        agent.process().token()
    agent.key = new_key
    agent.process().token()
    assert agent.history() == [(1, False)]


def test_a_banned_agent_is_told(agent: Agent, auth: httpx.Client) -> None:
    agent.process().token()
    auth.put(f"/admin/users/{agent.id}", json={"ban_duration": "1h"})
    agent.age(900)
    with pytest.raises(AccessDenied, match="User is banned"):
        agent.process().token()
    auth.put(f"/admin/users/{agent.id}", json={"ban_duration": "none"})
    agent.process().token()
    assert agent.history() == [(1, True), (1, False)]  # the same session


def test_auth_goes_and_comes_back(own_server: Supabase, agent: Agent, postgres: Postgres) -> None:
    agent.server = own_server
    first, spent = agent.process().token(), agent.refresh_token()
    own_server.stop()
    agent.age(850)  # old enough to be renewed, but not over
    assert agent.process().token() == first
    agent.age(100)
    with pytest.raises(StorageUnavailable):
        agent.process().token()
    own_server.start()
    agent.process().token()  # equal to the first, if both are of the same second
    assert agent.refresh_token() != spent
    assert agent.history() == [(1, True), (1, False)]


def test_the_file_holds_what_auth_gave(agent: Agent) -> None:
    token = agent.process().token()
    [path] = agent.folder.glob("*.json")
    kept = json.loads(path.read_text())
    assert kept["access_token"] == token
    assert kept["expires_at"] - kept["issued_at"] == 900
    assert agent.key not in path.read_text()
