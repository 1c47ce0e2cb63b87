"""A real Prometheus with the configuration and the rules that are deployed, and what it scrapes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from local.ports import HOST
from local.servers.base import Launch, OwnServer
from local.servers.fleet import ARGOSY
from local.servers.supabase import python_environment

DEPLOYED = Path(__file__).parents[2] / "deploy" / "prometheus"
RULES = DEPLOYED / "rules" / "argosy.yml"
SHORT = "2s"
"""For what the rules have minutes."""
RANGE = "12s"
"""For what they have a quarter of an hour."""
Targets = Mapping[str, list[int]]
"""Ports of this machine, by the job that scrapes them."""


class Books(OwnServer):
    """`argosy metrics`."""

    def __init__(self, data: Path, environment: Callable[[], Mapping[str, str]]) -> None:
        self._own_environment = environment
        super().__init__("metrics", data)

    def _prepare(self) -> Launch:
        command = [ARGOSY, "metrics", "--port", str(self.port)]
        return Launch(command, python_environment(self._own_environment()), folder=self.data)

    def _why_not_ready(self) -> str | None:
        return _why_not(f"http://{HOST}:{self.port}/metrics")


class Prometheus(OwnServer):
    """It scrapes and judges every second, and waits for seconds where deployed rules wait long."""

    def __init__(self, data: Path, targets: Targets) -> None:
        self._targets = targets
        super().__init__("prometheus", data)

    @property
    def url(self) -> str:
        """Of its API."""
        return f"http://{HOST}:{self.port}/api/v1"

    def ask(self, what: str, **parameters: Any) -> Any:
        """The data of an answer of its API."""
        answer = httpx.get(f"{self.url}/{what}", params=parameters, timeout=30)
        document = answer.json()
        assert document["status"] == "success", document
        return document["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression, now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def firing(self) -> set[str]:
        """Names of the alerts that fire."""
        alerts = self.ask("alerts")["alerts"]
        return {one["labels"]["alertname"] for one in alerts if one["state"] == "firing"}

    def scraped(self) -> dict[str, list[str]]:
        """How each target is, by its job."""
        found: dict[str, list[str]] = {}
        for one in self.ask("targets")["activeTargets"]:
            found.setdefault(one["labels"]["job"], []).append(one["health"])
        return found

    def _prepare(self) -> Launch:
        folder = self.data / "prometheus"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "rules").mkdir(parents=True)
        (folder / "rules" / "argosy.yml").write_text(hurried(RULES.read_text()))
        (folder / "prometheus.yml").write_text(json.dumps(configuration(self._targets)))
        command = [
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
        ]
        return Launch(command, {"PATH": "/usr/bin:/bin:/usr/local/bin"}, folder=folder)

    def _why_not_ready(self) -> str | None:
        return _why_not(f"http://{HOST}:{self.port}/-/ready")


def hurried(rules: str) -> str:
    """The rules as they are deployed, but for how long they wait and look back."""
    rules = re.sub(r"(?m)^(\s+for: )[1-9]\d*m$", rf"\g<1>{SHORT}", rules)
    return rules.replace("[15m]", f"[{RANGE}]")


def configuration(targets: Targets) -> dict[str, Any]:
    """The configuration as it is deployed, with this machine's ports, and in a hurry."""
    made: dict[str, Any] = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    made["global"] = {f"{what}_interval": "1s" for what in ("scrape", "evaluation")}
    made["global"]["scrape_timeout"] = "1s"
    for job in made["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        ports = targets[job["job_name"]]
        job["static_configs"] = [{"targets": [f"{HOST}:{port}" for port in ports]}]
    return made


def _why_not(url: str) -> str | None:
    try:
        answer = httpx.get(url, timeout=5)
    except httpx.HTTPError as error:
        return str(error)
    return None if answer.status_code == 200 else f"HTTP {answer.status_code}"
