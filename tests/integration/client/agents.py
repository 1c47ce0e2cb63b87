"""Agents as an operator makes them: what is printed for each is its process's environment."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from local.environment_file import exported
from tests.deployment import ARGOSY, Deployment

NEEDED = {"ARGOSY_AGENT", "ARGOSY_AGENT_KEY", "BROKER_URL"}


def add_agent(deployment: Deployment, name: str) -> dict[str, str]:
    """Make an agent and return the environment of its processes."""
    printed = deployment.run("agents", "add", name)
    own = exported(printed)
    assert own.keys() >= NEEDED, sorted(own)
    assert deployment.stack, "the agents of a real project are not made by tests"
    return {**deployment.stack.agent_environment, **own}


def process_environment(agent: dict[str, str], home: Path) -> dict[str, str]:
    """The whole environment of a process: the agent's, and no more than a shell has."""
    path = f"{Path(ARGOSY).parent}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(home), "PYTHONUNBUFFERED": "1", **agent}


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process to end, and see to it."""
    process.terminate()
    try:
        process.wait(20)
    finally:
        process.kill()
        process.wait()
