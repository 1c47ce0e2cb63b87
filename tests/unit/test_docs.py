"""What the documents say is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from argosy import Client
from argosy.errors import BY_CODE
from models import TRANSITIONS

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
NAMES_OF_CELERY_SETTINGS = """
import json
from worker.app import configuration
from argosy.settings import fleet_settings
print(json.dumps(sorted(configuration(fleet_settings()))))
"""
MADE_UP = {
    "SUPABASE_URL": "http://127.0.0.1:1",
    "SUPABASE_ANON_KEY": "anon",
    "SUPABASE_SERVICE_ROLE_KEY": "service",
    "SUPABASE_JWT_SECRET": "a-secret-of-thirty-two-characters",
    "SUPABASE_PROJECT_REF": "local",
    "DATABASE_URL": "postgresql://postgres@127.0.0.1:1/postgres",
    "BROKER_URL": "amqp://127.0.0.1:1",
    "RESULT_URL": "redis://127.0.0.1:1/0",
    "ARGOSY_SPOOL": "/spool",
}


def test_each_celery_setting_has_its_reason() -> None:
    command = [sys.executable, "-c", NAMES_OF_CELERY_SETTINGS]
    environment = {**os.environ, **MADE_UP}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert sorted(_first_cells("celery.md")) == json.loads(done.stdout)


def test_the_pages_of_states_and_errors_are_whole() -> None:
    assert set(_first_cells("states.md")) == set(TRANSITIONS)
    assert _first_cells("errors.md") == list(BY_CODE)


def test_the_reference_has_every_method_of_the_client() -> None:
    page = (ROOT / "docs" / "reference" / "client.md").read_text()
    named = re.findall(r"^ {8}- (\w+)$", page, re.MULTILINE)
    assert sorted(named) == [name for name in dir(Client) if not name.startswith("_")]


def _first_cells(page: str) -> list[str]:
    lines = (ROOT / "docs" / page).read_text().splitlines()
    return [line.split("`")[1] for line in lines if line.startswith("| `")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_compiles(page: Path) -> None:
    for block in _blocks(page, "python"):
        compile(block, str(page), "exec")


def test_commands_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert named
    assert named <= targets


def test_argosy_commands_in_the_readme_exist() -> None:
    from commands.table import ENTRIES

    shell = "\n".join(_blocks(ROOT / "README.md", "sh"))
    named = set(re.findall(r"^argosy ([a-z-]+)", shell, re.MULTILINE))
    assert {"agents", "bootstrap", "worker", "beat", "flower"} <= named <= set(ENTRIES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_make_alone_lists_every_target() -> None:
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("demo", "up", "test", "test-large", "test-remote", "lint", "format", "lock"):
        assert re.search(rf"^  {target} +\w", done.stdout, re.MULTILINE), target


def test_test_remote_names_what_is_missing(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in MADE_UP}
    environment["BROKER_URL"] = "amqp://127.0.0.1:1"
    command = ["make", "test-remote", "-o", ".venv/installed"]  # whatever this runs in is there
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "needs these variables: SUPABASE_URL" in done.stderr
    assert "RESULT_URL" in done.stderr
    assert "BROKER_URL" not in done.stderr


def test_the_lock_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert not re.search(r"^(-i|--|-e|-f)", lock, re.MULTILINE)
    assert "--hash=sha256:" in lock


def test_the_site_is_made_without_a_warning(tmp_path: Path) -> None:
    mkdocs = Path(sys.executable).parent / "mkdocs"
    command = [mkdocs, "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr.decode()) == (0, "")
    made = (tmp_path / "site" / "reference" / "client" / "index.html").read_text()
    assert "upload_file" in made


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
