"""The audit: who did what to which object, and how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from argosy.auth import SignIn, agent_email
from argosy.errors import AccessDenied, SourceMissing
from argosy.session import open_session, refresh
from tests.conftest import RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, remote
from worker.agents import disable_agent, enable_agent, rotate_key


def _events(deployment: Deployment, agent: AgentInTest) -> list[Any]:
    return deployment.query(
        "SELECT * FROM argosy.events WHERE agent_id = :id ORDER BY id", id=agent.id
    )


@pytest.mark.skipif(remote(), reason="the hooks are switched on in Auth's own settings")
def test_sign_ins(deployment: Deployment, agent: AgentInTest) -> None:
    session = open_session(agent.settings, agent_email(agent.name), agent.key, 0)
    refresh(agent.settings, session.refresh_token, 0)
    with pytest.raises(AccessDenied):
        SignIn(agent.settings, agent.name, "a wrong key").token()
    # The row alone, as where Auth was away: one that is banned never gets as far as the hook.
    deployment.query(
        "UPDATE argosy.agents SET disabled_at = now() WHERE id = :id RETURNING id", id=agent.id
    )
    with pytest.raises(AccessDenied):
        SignIn(agent.settings, agent.name, agent.key).token()
    told = [(row.name, row.outcome, row.reason) for row in _events(deployment, agent)]
    assert told == [
        ("agent.added", "ok", None),
        ("session.opened", "ok", None),
        ("session.refreshed", "ok", None),
        ("session.refused", "refused", "wrong_key"),
        ("session.refused", "refused", "disabled"),
    ]


def test_what_operators_do(deployment: Deployment, agent: AgentInTest) -> None:
    disable_agent(deployment.settings, agent.name)
    enable_agent(deployment.settings, agent.name)
    rotate_key(deployment.settings, agent.name)
    acts = [row.name for row in _events(deployment, agent) if row.name.startswith("agent.")]
    assert acts == ["agent.added", "agent.disabled", "agent.enabled", "agent.key_rotated"]


def test_transfers(deployment: Deployment, sender: Sender, spool: Path) -> None:
    source = deployment.make_file("audited.bin", 1000)
    up = sender.upload(source)
    reference = up.get(timeout=RESULT_SECONDS)
    down = sender.download(reference, spool / "back")
    down.get(timeout=RESULT_SECONDS)
    failed = sender.upload(spool / "missing.bin")
    with pytest.raises(SourceMissing):
        failed.get(timeout=RESULT_SECONDS)
    ends = {
        row.request_id: (row.name, row.outcome, row.reason, row.object)
        for row in _events(deployment, sender.agent)
        if row.name in ("transfer.completed", "transfer.failed")
    }
    stored = f"{reference['bucket']}/{reference['path']}"
    assert ends[up.id] == ("transfer.completed", "ok", None, stored)
    assert ends[down.id] == ("transfer.completed", "ok", None, stored)
    assert ends[failed.id][:3] == ("transfer.failed", "failed", "source_missing")
