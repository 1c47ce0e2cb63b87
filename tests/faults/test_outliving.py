"""A child that outlives the signal by which Celery means to end it when the broker is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from sqlalchemy.orm import Session

from argosy import FileReference
from models.derivatives import claim_derivatives, enter
from tasks import transfer
from tasks.steps import compressing, keys_of
from tests.conftest import MB, Sender
from tests.deployment import AgentInTest, Deployment, deployed, remote, until
from tests.faults.test_kills import RECOVERY_SECONDS
from tests.integration.test_compressed_uploads import write_text

pytestmark = pytest.mark.skipif(remote(), reason="these tests kill the servers they run on")

SIZE = 130 * MB
DEAF = """
import signal
from celery.signals import worker_process_init

def ignore(**_):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

worker_process_init.connect(ignore, weak=False)
"""
SLOW = {"ARGOSY_COMPRESS_LEVEL": "12", "ARGOSY_CHILD_MEMORY_MB": "2000"}
"""Compression takes so long that a child can be met in it, and none is replaced after it."""


@pytest.fixture
def fragile(tmp_path: Path) -> Iterator[Deployment]:
    """One worker with one child, and that one deaf."""
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(DEAF)
    with deployed(tmp_path / "fragile", SLOW, workers={}) as made:
        made.start_worker("deaf", 1, PYTHONPATH=str(folder))
        yield made


def _child_at_it(deployment: Deployment) -> psutil.Process:
    """The child that compresses."""
    held = "SELECT worker FROM argosy.derivatives WHERE worker <> 'nobody' AND lease_until > now()"
    [row, *_] = until(lambda: deployment.query(held), what="a copy in the making")
    return psutil.Process(int(row.worker.rpartition("/")[2]))


def _claim(deployment: Deployment, agent: AgentInTest, file: FileReference) -> None:
    """Take the making of a compressed copy, as a worker that will not do it."""
    step = compressing(deployment.settings)

    def take(session: Session) -> int:
        claimed = claim_derivatives(
            session,
            enter(session, file.id, agent.id, keys_of(step)),
            agent_id=agent.id,
            task_id=uuid4(),
            lease_seconds=3600,
            worker="nobody",
        )
        return len(claimed)

    assert deployment.transact(take) == 1


def _let_go(deployment: Deployment) -> None:
    """End that claim, as its lease would."""
    ended = "SET lease_until = now(), republish_at = now() WHERE worker = 'nobody' RETURNING id"
    assert deployment.query(f"UPDATE argosy.derivatives {ended}")


def _is_put_back(deployment: Deployment, task_id: str) -> bool:
    """Whether the request's own task has ended, and others will see to it."""
    accepted = "SELECT 1 FROM argosy.continuations WHERE task_id = :id"
    return bool(deployment.query(accepted, id=task_id)) and task_id not in _running(deployment)


def _running(deployment: Deployment) -> dict[str, str]:
    """What children are at: names of tasks by their ids."""
    [active] = (deployment.app.control.inspect(timeout=30, limit=1).active() or {}).values()
    return {one["id"]: one["type"] for one in active}


def test_what_it_is_at_when_it_dies_is_done_by_another(fragile: Deployment) -> None:
    """No agent is told that its request was revoked: nobody has revoked it."""
    sender = Sender(fragile.add_agent())
    one, other = (
        FileReference.parse(sender.upload(words).get(timeout=RECOVERY_SECONDS))
        for words in (write_text(fragile.spool / f"{n}.txt", SIZE, n) for n in (1, 2))
    )
    copy = transfer.compress.s(one).apply_async(headers=sender.headers)
    child = _child_at_it(fragile)
    broker = fragile.stack_of("rabbitmq")
    broker.kill()
    broker.start()
    until(lambda: fragile.stack_of("deaf").has_said("Terminating it instead"), what="the signal")
    assert copy.state != "RETRY"
    assert FileReference.parse(copy.get(timeout=RECOVERY_SECONDS)).encoding == "zstd"

    _claim(fragile, sender.agent, other)
    copy = transfer.compress.s(other).apply_async(headers=sender.headers)
    until(lambda: _is_put_back(fragile, copy.id), what="a request that others will see to")
    _let_go(fragile)
    assert _child_at_it(fragile) == child
    assert _running(fragile)[copy.id] == "transfer.reassemble"
    child.kill()
    assert FileReference.parse(copy.get(timeout=RECOVERY_SECONDS)).encoding == "zstd"
