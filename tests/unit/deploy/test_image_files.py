"""What the image is made of: the part of the lock that it needs, and its bill of materials."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.unit.deploy.compose import ROOT

IMAGE = ROOT / "deploy" / "image"
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.41-12+deb13u1
Description: GNU C Library
 with a second line

Package: tzdata
Architecture: all
Version: 2026b-0+deb13u1
"""


def run(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, IMAGE / script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def locked(*roots: str) -> dict[str, str]:
    """Names and versions of what is installed for these roots, for this Python."""
    entries = run("runtime_requirements.py", *roots)
    return {
        found[1].lower(): found[2]
        for found in re.finditer(r"^([\w.-]+)==([\w.]+)([^\\\n]*)\\$", entries, re.MULTILINE)
        if Requirement(f"{found[1]}=={found[2]}{found[3]}").marker is None
        or Requirement(f"{found[1]}=={found[2]}{found[3]}").marker.evaluate()  # type: ignore[union-attr]
    }


def test_it_is_a_part_of_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    entries = run("runtime_requirements.py").strip()
    assert entries.count("==") < lock.count("==")
    for entry in re.split(r"\n(?=[A-Za-z0-9])", entries):
        assert entry in lock
        assert "--hash=sha256:" in entry


def test_nothing_that_is_needed_is_missing() -> None:
    """By what each installed package says that it requires."""
    names = locked()
    for name in names:
        for line in requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert needed.name.lower().replace("_", "-") in names, f"{name} needs {line}"


def test_nothing_for_development_is_in_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for line in [*extras["local"], *extras["dev"]]:
        assert Requirement(line).name not in locked(), line


def test_versions_are_those_that_the_tests_run_with() -> None:
    for name, told in locked().items():
        assert version(name) == told


def test_an_unknown_package_is_told() -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        run("runtime_requirements.py", "no-such-package")
    assert "requirements.lock has no no-such-package" in failed.value.stderr


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    status = tmp_path_factory.mktemp("dpkg") / "status"
    status.write_text(STATUS)
    site_packages = Path(pytest.__file__).parents[1]
    made: dict[str, Any] = json.loads(run("sbom.py", site_packages, status))
    return made


def test_the_bill_names_every_package(bill: dict[str, Any]) -> None:
    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "argosy-fleet"
    found = {one["name"]: one for one in bill["components"]}
    assert set(locked()) <= set(found)
    for name, told in locked().items():
        assert found[name]["purl"] == f"pkg:pypi/{name}@{told}"
    assert found["libc6"]["purl"] == "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64"
    assert found["tzdata"]["version"] == "2026b-0+deb13u1"
    references = [one["bom-ref"] for one in bill["components"]]
    assert len(set(references)) == len(references)


def test_the_bill_tells_licences(bill: dict[str, Any]) -> None:
    licences = {one["name"]: one.get("licenses") for one in bill["components"]}
    assert licences["celery"] == [{"license": {"name": "BSD-3-Clause"}}]
    without = [name for name in locked() if not licences[name]]
    assert without == []


def test_the_image_is_not_roots_and_has_an_init() -> None:
    final = DOCKERFILE.rpartition("FROM scratch")[2]
    assert "USER 10001:10001" in final
    assert 'ENTRYPOINT ["/usr/bin/tini", "--", "argosy"]' in final
    assert "RUN" not in final
    assert "--require-hashes" in DOCKERFILE
    assert "--only-binary=:all:" in DOCKERFILE


def test_nothing_but_what_is_named_gets_into_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    assert lines[1] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert {name.rstrip("/") for line in copied for name in line.split()} == allowed


def test_every_dependency_is_installed_here() -> None:
    """Else the tests above would look at less than there is."""
    for name in locked():
        try:
            version(name)
        except PackageNotFoundError:
            pytest.fail(f"{name} is locked and not installed")
