"""The pages of docs/ that are made from the code are the code's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from argosy.gateway_settings import GatewaySettings
from argosy.settings import FleetSettings, environment_name

ROOT = Path(__file__).parents[2]


def test_the_generated_pages_are_up_to_date() -> None:
    """Settings, states and errors; in a process of its own, where no test has added a class."""
    command = [sys.executable, "docs/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_setting_is_in_a_table_once() -> None:
    lines = (ROOT / "docs" / "settings.md").read_text().splitlines()
    named = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert named == [
        environment_name(field, kind)
        for kind in (FleetSettings, GatewaySettings)
        for field in kind.model_fields
    ]


def test_every_setting_has_a_meaning() -> None:
    for kind in (FleetSettings, GatewaySettings):
        assert all(field.description for field in kind.model_fields.values())
