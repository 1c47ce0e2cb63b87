"""The image: small, nobody's but its user's, and with nothing in it that it does not need."""

from __future__ import annotations

import json
import tarfile
from typing import Any

import pytest

from tests.compose.deployment import Deployment
from tests.compose.images import IMAGE

MOST_BYTES = 300_000_000
pytestmark = pytest.mark.timeout(900)
PYTHON = "opt/argosy/lib/python3.13/site-packages"


@pytest.fixture(scope="module")
def told(made: Deployment) -> dict[str, Any]:
    """What the engine says of it."""
    [found] = json.loads(made.docker("image", "inspect", IMAGE))
    return dict(found)


@pytest.fixture(scope="module")
def files(made: Deployment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tarfile.TarInfo]:
    """What is in it."""
    archive = tmp_path_factory.mktemp("image") / "root.tar"
    container = made.docker("create", IMAGE).strip()
    try:
        made.docker("export", "--output", archive, container)
    finally:
        made.docker("rm", container)
    with tarfile.open(archive) as opened:
        return {member.name.removeprefix("./"): member for member in opened}


def test_it_is_small(told: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{IMAGE}: {told['Size'] / 1e6:.0f} MB")
    assert told["Size"] < MOST_BYTES


def test_it_runs_as_an_ordinary_user_below_an_init(told: dict[str, Any]) -> None:
    assert told["Config"]["User"] == "10001:10001"
    assert told["Config"]["Entrypoint"] == ["/usr/bin/tini", "--", "argosy"]


def test_it_says_what_it_is(told: dict[str, Any]) -> None:
    labels = told["Config"]["Labels"]
    for name in ("title", "description", "licenses", "version", "revision"):
        assert labels[f"org.opencontainers.image.{name}"]


def test_nothing_in_it_makes_programs_or_runs_scripts(files: dict[str, tarfile.TarInfo]) -> None:
    found = {name.rpartition("/")[2] for name in files if "/bin/" in f"/{name}"}
    assert "argosy" in found
    assert not found & {"sh", "bash", "dash", "busybox", "gcc", "cc", "ld", "as", "perl"}
    assert not found & {"apt", "apt-get", "dpkg", "pip", "curl", "wget"}
    assert f"{PYTHON}/pip" not in files


def test_nothing_in_it_has_the_rights_of_another(files: dict[str, tarfile.TarInfo]) -> None:
    assert [name for name, one in files.items() if one.isfile() and one.mode & 0o6000] == []
    ours = {name for name, one in files.items() if one.uid == 10001}
    assert {"spool", "gateway", "var/lib/argosy"} == {name.rstrip("/") for name in ours}


def test_its_bill_of_materials_is_whole(
    made: Deployment, files: dict[str, tarfile.TarInfo]
) -> None:
    program = "import sys; sys.stdout.write(open('/usr/share/argosy/sbom.cdx.json').read())"
    run = ("run", "--rm", "--entrypoint", "/opt/argosy/bin/python", IMAGE, "-c", program)
    bill = json.loads(made.docker(*run))
    named = {one["name"].replace("-", "_") for one in bill["components"]}
    named.add(bill["metadata"]["component"]["name"].replace("-", "_"))
    packages = {
        name.split("/")[-1].rpartition("-")[0]
        for name in (
            path.removesuffix(".dist-info") for path in files if path.endswith(".dist-info")
        )
    }
    assert len(packages) > 50
    assert packages <= named
    assert {"libc6", "python3.13_minimal", "tini"} <= named


def test_its_modules_have_bytecode(files: dict[str, tarfile.TarInfo]) -> None:
    """A root file system that cannot be written to would have them compiled at every start."""
    for module in ("celery/app/base", "kombu/connection", "sqlalchemy/engine/base"):
        folder, _, name = f"{PYTHON}/{module}".rpartition("/")
        assert f"{folder}/__pycache__/{name}.cpython-313.pyc" in files
    assert "srv/argosy/worker/__pycache__/app.cpython-313.pyc" in files
