"""Flower shows the fleet and its tasks, and nothing that is secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import Deployment, remote, until

pytestmark = pytest.mark.skipif(remote(), reason="starts Flower on the local stack")


def test_flower_shows_the_fleet_and_no_secret(
    deployment: Deployment, sender: Sender, spool: Path
) -> None:
    assert deployment.stack
    flower = deployment.stack.start_flower()
    try:
        seen = _carry_until_seen(deployment, sender, flower.url)
        workers = until(lambda: _both_workers(flower.url), what="both workers on its page")
        names = {task["name"] for task in seen.values()}
        broker = until(lambda: _broker_page(flower.url), what="the queues on the broker's page")
        pages = repr(seen) + httpx.get(f"{flower.url}/tasks", timeout=15).text + repr(workers)
        command = psutil.Process(flower.pid).cmdline()
    finally:
        flower.stop()
    assert {"transfer.upload", "transfer.chunk", "transfer.digest"} <= names
    for name, value in deployment.environment.items():
        if name.endswith(("KEY", "SECRET")):
            assert value not in pages, name
    for secret in (sender.headers["argosy_token"], sender.agent.key):
        assert secret not in pages
    assert deployment.stack.secrets.rabbitmq not in pages + broker + " ".join(command)


def _both_workers(url: str) -> list[dict[str, Any]] | None:
    """Flower shows a worker once it has heard an event of it."""
    found: list[dict[str, Any]] = httpx.get(f"{url}/workers?json=1", timeout=15).json()["data"]
    names = {worker["hostname"].partition("@")[0] for worker in found}
    return found if names >= {"one", "two"} else None


def _broker_page(url: str) -> str | None:
    """Its queues come from RabbitMQ's management API, which Flower asks with a password."""
    page = httpx.get(f"{url}/broker", timeout=15).text
    return page if "argosy.requests" in page else None


def _carry_until_seen(deployment: Deployment, sender: Sender, url: str) -> dict[str, Any]:
    """Upload until Flower, which listens for events from its start on, knows of it."""

    def look() -> dict[str, Any] | None:
        source = deployment.make_file("watched.bin", 101 * MB)
        uploaded = sender.upload(source)
        uploaded.get(timeout=RESULT_SECONDS)
        tasks: dict[str, Any] = httpx.get(f"{url}/api/tasks?limit=200", timeout=15).json()
        finished = tasks.get(uploaded.id, {}).get("state") == "SUCCESS"
        return tasks if finished else None

    return until(look, what="an upload that Flower has seen")
