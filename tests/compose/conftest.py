"""An engine, the images, and the deployment, once for all tests of the lane."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.deployment import Deployment
from tests.compose.engine import Docker, an_engine
from tests.compose.images import ROOT, Images


@pytest.fixture(scope="session")
def folder() -> Path:
    """Where engine and images stay between two runs."""
    found = Path(os.environ.get("DATA") or ROOT / ".argosy" / "compose").resolve()
    found.mkdir(parents=True, exist_ok=True)
    return found


@pytest.fixture(scope="session")
def docker(folder: Path) -> Iterator[Docker]:
    """The client of an engine."""
    with an_engine(folder) as client:
        yield client


@pytest.fixture(scope="session")
def made(docker: Docker, folder: Path) -> Iterator[Deployment]:
    """The project with its images, before anything of it runs."""
    project = Deployment(docker, folder)
    project.down("--volumes")  # of a run that was killed
    Images(docker, folder).prepare(project.images)
    yield project
    project.down("--volumes")


@pytest.fixture(scope="session")
def project(made: Deployment) -> Deployment:
    """The whole of it, up and well."""
    made.up()
    return made


@pytest.fixture(scope="session")
def agent(project: Deployment) -> dict[str, str]:
    """The environment of an agent of it."""
    return project.add_agent("weather")
