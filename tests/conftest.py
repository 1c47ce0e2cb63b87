"""One real deployment for all tests that need one."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult
from hypothesis import HealthCheck, settings

from argosy.auth import TOKEN_HEADER
from tasks import transfer
from tests.deployment import AgentInTest, Deployment, deployed

# A machine that stands still for a moment is no fault of what is tested, nor of what is drawn.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

MB = 1_000_000
RESULT_SECONDS = 90


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Servers, two workers and beat; every test shares them."""
    with deployed(tmp_path_factory.mktemp("deployment")) as made:
        yield made


@pytest.fixture(autouse=True)
def current_app(request: pytest.FixtureRequest) -> None:
    """Send through the deployment that the test uses: Celery's current application is global."""
    for name in ("deployment", "fragile", "with_part_size", "parted"):
        if name in request.fixturenames:
            request.getfixturevalue(name).app.set_current()
            request.getfixturevalue(name).app.set_default()


@pytest.fixture
def spool(deployment: Deployment) -> Iterator[Path]:
    """The spool folder, empty: not every test that leaves a file there has this."""
    deployment.clear_spool()
    yield deployment.spool
    deployment.clear_spool()


@pytest.fixture(scope="session")
def shared_agent(deployment: Deployment) -> AgentInTest:
    """One agent for tests that do not mind what others stored."""
    return deployment.add_agent()


@pytest.fixture
def agent(deployment: Deployment) -> AgentInTest:
    """An agent of this test alone: its folder is empty."""
    return deployment.add_agent()


class Sender:
    """Sends requests as one agent, without signing the whole process in."""

    def __init__(self, agent: AgentInTest) -> None:
        self.agent = agent
        self.headers = {TOKEN_HEADER: agent.token()}

    def upload(self, source: Path | str, **options: Any) -> AsyncResult:
        """`transfer.upload`."""
        return transfer.upload.apply_async((str(source),), options, headers=self.headers)

    def download(self, reference: Any, destination: Path | str) -> AsyncResult:
        """`transfer.download`."""
        return transfer.download.apply_async((reference, str(destination)), headers=self.headers)


@pytest.fixture
def sender(agent: AgentInTest) -> Sender:
    """Requests of this test's own agent."""
    return Sender(agent)


def pytest_configure() -> None:
    """Tests never act for whoever ran them, and interrupt what they start, also in the background.

    A shell has what it starts in the background ignore Ctrl-C, and children inherit that.
    """
    if (number := os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")).isdecimal():
        first = 18_000 + int(number) % 2 * 7_000
        os.environ["ARGOSY_LOCAL_PORTS"] = f"{first}-{first + 7_000}"
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("ARGOSY_AGENT", "ARGOSY_AGENT_KEY"):
        os.environ.pop(name, None)
    os.environ["ARGOSY_SESSION_DIR"] = tempfile.mkdtemp(prefix="argosy-sessions-")


def pytest_unconfigure() -> None:
    """Leave no folder of sessions behind."""
    shutil.rmtree(os.environ["ARGOSY_SESSION_DIR"], ignore_errors=True)
