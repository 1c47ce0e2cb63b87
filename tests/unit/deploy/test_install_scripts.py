"""The scripts that install what tests need, where there is nothing and nothing can be installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.deploy.compose import ROOT

NEEDED = ("sh", "cat", "dirname", "id")


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with neither apt-get nor what the scripts look for."""
    for name in NEEDED:
        found = shutil.which(name)
        assert found, name
        (tmp_path / name).symlink_to(found)
    return {"PATH": str(tmp_path)}


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("deploy/prometheus/install.sh", "sudo deploy/prometheus/install.sh"),
        ("tests/flower/install.sh", "export ARGOSY_TEST_BROWSER=/path/to/chromium"),
        ("tests/compose/install.sh", "or be root on Debian"),
    ],
)
def test_they_say_what_to_do(bare: dict[str, str], tmp_path: Path, script: str, says: str) -> None:
    done = _run(ROOT / script, str(tmp_path / "plugins"), environment=bare)
    assert done.returncode == 1
    assert says in done.stderr
    assert "not found" not in done.stderr


def test_a_browser_that_is_named_is_enough(bare: dict[str, str]) -> None:
    environment = {**bare, "ARGOSY_TEST_BROWSER": "cat"}
    assert _run(ROOT / "tests/flower/install.sh", environment=environment).returncode == 0


def test_a_broker_that_is_named_is_enough(bare: dict[str, str]) -> None:
    environment = {**bare, "ARGOSY_TEST_BROKER_URL": "amqp://127.0.0.1:1"}
    assert _run(ROOT / "deploy/rabbitmq/install.sh", environment=environment).returncode == 0


def _run(
    script: Path, *words: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    command = ["sh", script, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
