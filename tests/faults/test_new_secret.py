"""The project's JWT secret changes while a file is on its way: docs/operations/keys.md."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from argosy.errors import InvalidToken
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, deployed, remote, until
from worker.agents import limit_agent

pytestmark = pytest.mark.skipif(remote(), reason="changes the secret of its project")

RATE = 2 * MB
SIZE = 30 * MB
SMALL_PARTS = {"ARGOSY_CHUNK_THRESHOLD": str(MB)}
STORED = "SELECT count(*) FROM argosy.chunks WHERE transfer_id = :id AND state = 'stored'"


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path / "deployment", SMALL_PARTS) as made:
        yield made


def _change_the_secret(deployment: Deployment) -> None:
    """Steps 2 to 4 of the page."""
    stack = deployment.stack
    assert stack
    for name in ("one", "two", "beat"):
        deployment.stack_of(name).stop()
    stack.supabase.stop()
    stack.secrets = replace(stack.secrets, jwt_secret=secrets.token_urlsafe(32))
    del stack._keys  # the anon key and the service key are tokens of the secret
    stack.supabase.start()
    deployment.start_worker("one")
    deployment.start_beat()


def test_what_is_on_its_way_goes_on(fragile: Deployment) -> None:
    owner = fragile.add_agent()
    before = Sender(owner)
    limit_agent(fragile.settings, owner.name, bytes_per_second=RATE)
    source = fragile.make_file("source.bin", SIZE)
    sent = before.upload(source)
    until(lambda: fragile.query(STORED, id=sent.id)[0][0], what="its first part")
    _change_the_secret(fragile)
    reference = sent.get(timeout=RESULT_SECONDS)
    assert reference["size"] == SIZE

    with pytest.raises(InvalidToken):
        before.upload(source).get(timeout=RESULT_SECONDS)
    now = Sender(AgentInTest(owner.id, owner.name, owner.key, fragile.settings))
    down = fragile.spool / "down.bin"
    now.download(reference, down).get(timeout=RESULT_SECONDS)
    assert down.read_bytes() == source.read_bytes()
    assert "service key" in fragile.run("doctor")
