"""An .env as `make env` makes it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.deploy.compose import LINE, ROOT

MAKE_ENV = ROOT / "deploy" / "compose" / "make_env.py"


def make_env(folder: Path) -> dict[str, str]:
    """Run it for this folder; returns what .env then says."""
    subprocess.run([sys.executable, MAKE_ENV, folder], check=True, capture_output=True)
    return dict(LINE.findall((folder / ".env").read_text()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the example and no .env."""
    shutil.copy(ROOT / ".env.example", tmp_path)
    return tmp_path


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    """A fresh .env."""
    return make_env(folder)
