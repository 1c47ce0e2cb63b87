"""Programs without this library send to, and hear from, those that have it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import jsonschema
import pytest

from argosy import FileReference, UploadOptions
from tests.deployment import Deployment, remote, until
from tests.integration.client.agents import add_agent, process_environment
from tests.integration.client.mailing import Person, pins
from tests.unit.test_docs import ROOT

pytestmark = pytest.mark.skipif(remote(), reason="uses the local stack's RabbitMQ")

EXAMPLES = ROOT / "examples"
PLAIN = sorted(EXAMPLES.glob("plain_*.py"))
OURS = {"argosy", "models", "tasks", "worker", "local"}


def imported(program: Path) -> set[str]:
    """The packages that a program imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(program.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


@pytest.mark.parametrize("program", PLAIN, ids=lambda path: path.name)
def test_they_do_without_us(program: Path) -> None:
    assert not imported(program) & OURS
    assert len(program.read_text().splitlines()) < 60


@pytest.fixture(scope="module")
def plain(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of an agent that was added by the operator's command."""
    added = add_agent(deployment, f"plain-{uuid4().hex[:8]}")
    return process_environment(added, tmp_path_factory.mktemp("home"))


def run(environment: dict[str, str], program: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / program, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_plain_pika_agent(
    alice: Person, plain: dict[str, str], deployment: Deployment, tmp_path: Path
) -> None:
    """It reads our message by the published schema, and fetches its file by REST."""
    content = os.urandom(100_000)
    named = UploadOptions(name="cargo.bin")
    sent = alice.client.send(plain["ARGOSY_AGENT"], {"for": "you"}, [content], options=named)
    assert pins(deployment, sent) == 1
    printed = run(plain, "plain_pika_agent.py", tmp_path)
    assert printed == f'agent.{alice.name} {{"for": "you"}} 1\n'
    assert (tmp_path / "cargo.bin").read_bytes() == content
    until(lambda: pins(deployment, sent) == 0, what="the end of the pin")


def test_a_plain_celery_producer(
    plain: dict[str, str], deployment: Deployment, spool: Path
) -> None:
    """It knows the name of a task, and gets a reference that fits the published schema."""
    source = deployment.make_file("cargo.bin", 10_000)
    document = json.loads(run(plain, "plain_celery_producer.py", source))
    schema = json.loads((ROOT / "docs" / "reference.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
    assert FileReference.parse(document).size == 10_000
