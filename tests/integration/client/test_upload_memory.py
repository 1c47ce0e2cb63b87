"""Memory does not know the file's size.

256 MiB prove it as well as more would: they are 16 parts, four times what is on its way at
once, and more than twice the limit. The lane of large files has 1 GiB.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deployment import Deployment, remote

from .agents import add_agent, process_environment

MIB = 1024 * 1024
MOST_MEGABYTES = 100

pytestmark = pytest.mark.skipif(remote(), reason="makes agents with the local stack's command")


@pytest.fixture(scope="module")
def environment(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    agent = add_agent(deployment, f"memory-{os.urandom(4).hex()}")
    return process_environment(agent, tmp_path_factory.mktemp("home"))


@pytest.mark.parametrize("how", ["file", "stream"])
@pytest.mark.parametrize(
    "mebibytes", [256, pytest.param(1024, marks=pytest.mark.large)], ids="{} MiB".format
)
def test_an_upload_takes_less_than_100_mb(
    deployment: Deployment,
    environment: dict[str, str],
    spool: Path,
    how: str,
    mebibytes: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = deployment.make_file("cargo.bin", mebibytes * MIB)
    arguments = [sys.executable, "-m", "tests.integration.client.uploading", how, str(path)]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    taken = said["peak"] - said["baseline"]
    speed = mebibytes * MIB / 1e6 / said["seconds"]
    with capsys.disabled():
        print(f"\nupload_{how} of {mebibytes} MiB: {speed:.0f} MB/s, {taken:.0f} MB of memory")
    assert said["reference"]["size"] == mebibytes * MIB
    assert taken < MOST_MEGABYTES
