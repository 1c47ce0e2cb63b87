"""An agent's process that ends in the middle of an upload, and the one that goes on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from argosy import FileReference
from tests.deployment import Deployment, remote, until

from .agents import add_agent, process_environment
from .gate import Gate, gate_to

MB, MIB = 1_000_000, 1024 * 1024
SIZE, PART = 300 * MB, 8 * MIB
PARTS = -(-SIZE // PART)
STORED_BEFORE = 10
PARALLEL = 4

pytestmark = pytest.mark.skipif(remote(), reason="makes agents with the local stack's command")


@pytest.fixture
def gate(deployment: Deployment) -> Iterator[Gate]:
    with gate_to(deployment.settings.supabase_url) as made:
        yield made


@pytest.fixture
def environment(deployment: Deployment, gate: Gate, tmp_path: Path) -> dict[str, str]:
    """What the agent's process runs with: Storage is behind the gate."""
    agent = add_agent(deployment, f"killed-{os.urandom(4).hex()}")
    return {**process_environment(agent, tmp_path), "SUPABASE_URL": gate.url}


def start(environment: dict[str, str], path: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "tests.integration.client.uploading", "file", str(path)]
    return subprocess.Popen(
        [*arguments, str(PART)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcome(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    said: dict[str, Any] = json.loads(out)
    return said


def in_the_middle(gate: Gate) -> bool:
    """Some parts are stored, and half of the next ones has passed the gate."""
    held = sum(each.held for each in gate.passed)
    return sum(gate.stored_parts.values()) == STORED_BEFORE and held == PARALLEL


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_it_goes_on_and_sends_no_stored_part_again(
    deployment: Deployment,
    gate: Gate,
    environment: dict[str, str],
    spool: Path,
    how: signal.Signals,
) -> None:
    path, passing = deployment.make_file("cargo.bin", SIZE), iter(range(PARTS))
    gate.hold = lambda request: request.part is not None and next(passing) >= STORED_BEFORE
    with start(environment, path) as first:
        until(lambda: in_the_middle(gate), what="an upload in the middle")
        gate.drops_held = how == signal.SIGKILL
        first.send_signal(how)
        if how == signal.SIGINT:  # its threads look up between two blocks
            gate.released.set()
        assert first.wait(60) != 0
    gate.hold = lambda _request: False
    gate.released.set()
    with start(environment, path) as second:
        reference = FileReference.parse(outcome(second)["reference"])
    check_sent_once(gate)
    check_whole(deployment, reference, path)


def check_sent_once(gate: Gate) -> None:
    """Every part was stored, at most one of them twice; of others no more than a piece was lost."""
    assert set(gate.stored_parts) == set(range(1, PARTS + 1))
    assert sum(gate.stored_parts.values()) <= PARTS + 1
    assert sum(gate.asked_parts.values()) <= PARTS + PARALLEL
    sent = sum(each.sent for each in gate.passed if each.part)
    assert SIZE <= sent <= SIZE + PARALLEL * PART


def check_whole(deployment: Deployment, reference: FileReference, path: Path) -> None:
    with path.open("rb") as file:
        assert reference.sha256 == hashlib.file_digest(file, "sha256").hexdigest()
    [row] = deployment.query(
        "SELECT id, bytes_done FROM argosy.transfers WHERE agent_id = :owner AND name != 'warm'",
        owner=reference.owner,
    )
    assert (row.id, row.bytes_done) == (reference.id, SIZE)
    left = "SELECT id FROM storage.s3_multipart_uploads WHERE key LIKE :folder"
    assert not deployment.query(left, folder=f"{reference.owner}/%")


def test_two_processes_at_once(
    deployment: Deployment, environment: dict[str, str], spool: Path
) -> None:
    """One has the journal, the other goes without; each makes a file of its own."""
    path = deployment.make_file("cargo.bin", 100 * MB + 1)
    both = [start(environment, path) for _ in range(2)]
    made = [FileReference.parse(outcome(each)["reference"]) for each in both]
    assert made[0].id != made[1].id
    assert made[0].sha256 == made[1].sha256
    assert not list((Path(environment["HOME"]) / ".local/state/argosy/journal").iterdir())
