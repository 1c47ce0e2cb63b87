"""Clients of agents of one test alone, each with its own folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from argosy import Client, deadline
from argosy.settings import AgentSettings
from tests.deployment import AgentInTest, Deployment
from tests.integration.client.clock import Clock
from tests.integration.client.mailing import Person, person

MakeClient = Callable[..., Client]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What every deadline goes by."""
    made = Clock()
    monkeypatch.setattr(deadline, "time", made)
    return made


def settings_of(deployment: Deployment, agent: AgentInTest, folder: Path) -> AgentSettings:
    """What the agent's process would read from its environment."""
    own = {"journal_dir": folder / "journal", "cache_dir": folder / "cache"}
    known = {
        name: getattr(deployment.settings, name)
        for name in AgentSettings.model_fields
        if name not in own and name != "spool"  # an agent of another host: the fleet decides
    }
    return AgentSettings(**{**known, **own})


@pytest.fixture
def make_client(deployment: Deployment, tmp_path: Path) -> Iterator[MakeClient]:
    """Makes clients: `make_client(agent, **settings)`."""
    with ExitStack() as stack:

        def make(agent: AgentInTest, **changes: object) -> Client:
            settings = settings_of(deployment, agent, tmp_path / agent.name)
            settings = settings.model_copy(update=changes)
            made = Client(settings, agent=agent.name, key=agent.key)
            return stack.enter_context(made)

        yield make


@pytest.fixture
def client(make_client: MakeClient, agent: AgentInTest) -> Client:
    """The client of this test's own agent."""
    return make_client(agent)


@pytest.fixture
def other(make_client: MakeClient, deployment: Deployment) -> Client:
    """Another agent's client."""
    return make_client(deployment.add_agent())


@pytest.fixture(scope="module")
def alice(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """An agent with a user of its own on the broker; a test leaves its queues empty."""
    with person(deployment, tmp_path_factory.mktemp("alice")) as made:
        yield made


@pytest.fixture(scope="module")
def bob(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Another one."""
    with person(deployment, tmp_path_factory.mktemp("bob")) as made:
        yield made
