"""The images of docker-compose.yml: ours is built, the others are pulled or stood in for."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.compose.engine import Docker

ROOT = Path(__file__).parents[2]
IMAGE = "argosy:0.1.0"
AGENT = "argosy-test-agent"
STAND_INS = {
    "rabbitmq": "rabbitmq",
    "valkey/valkey": "valkey",
    "supabase/postgres": "postgres",
    "supabase/gotrue": "auth",
    "supabase/storage-api": "storage",
    "nginxinc/nginx-unprivileged": "nginx",
    "prom/prometheus": "prometheus",
}
"""Which target of stand_ins/Dockerfile stands in for an image."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Images:
    """Builds what is needed, by an engine."""

    def __init__(self, docker: Docker, data: Path) -> None:
        """`data` is the lane's folder."""
        self._docker = docker
        self._data = data
        self.pulls = os.environ.get("PULL") == "1"
        """Whether the real images are used, and not stand-ins."""

    def prepare(self, named: set[str]) -> None:
        """Have every image of `named`, ours and that of the agent."""
        self._base()
        self._build("deploy/Dockerfile", IMAGE)
        self._build("tests/compose/stand_ins/Dockerfile", AGENT, "--target", "agent")
        for image in sorted(named - {IMAGE}):
            target = STAND_INS.get(image.partition(":")[0])
            if self.pulls:
                self._docker("pull", "--quiet", image)
            elif target:  # nothing stands in for Grafana
                self._build("tests/compose/stand_ins/Dockerfile", image, "--target", target)

    def _base(self) -> None:
        """Debian, under the name that the Dockerfiles ask for."""
        text = (ROOT / "deploy" / "Dockerfile").read_text()
        base = text.partition("ARG DEBIAN=")[2].split()[0]
        if not self.pulls and not self._docker.has(base):
            self._bootstrap(base)

    def _bootstrap(self, name: str) -> None:
        root = self._data / "debian"
        shutil.rmtree(root, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", "trixie", root]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        if CERTIFICATES.exists():  # this machine's way to its mirrors may have one of its own
            shutil.copy(CERTIFICATES, root / "etc/ssl/certs/")
        archive = self._data / "debian.tar"
        subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
        self._docker("import", archive, name)
        shutil.rmtree(root)
        archive.unlink()

    def _build(self, dockerfile: str, tag: str, *options: str) -> None:
        """Build with the network and the package index of this machine."""
        self._docker(
            *("buildx", "build", "--load", "--network", "host", "--progress", "plain"),
            *self._secrets(),
            *("--file", ROOT / dockerfile, "--tag", tag, *options, ROOT),
        )

    def _secrets(self) -> list[str]:
        """What pip must be told inside: the index of this machine, and who vouches for it."""
        lines, secrets = ["[global]"], []
        if CERTIFICATES.exists():
            lines.append("cert = /run/secrets/ca.pem")
            secrets += ["--secret", f"id=ca.pem,src={CERTIFICATES}"]
        if index := os.environ.get("PIP_INDEX_URL"):
            lines.append(f"index-url = {index}")
        told = self._data / "pip.conf"
        told.write_text("\n".join([*lines, ""]))
        return [*secrets, "--secret", f"id=pip.conf,src={told}"]
