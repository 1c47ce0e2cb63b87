"""Flower as an operator opens it: with a password, in a real browser, while a file moves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from celery.result import AsyncResult
from PIL import Image
from playwright.sync_api import Page, expect

from local.servers.fleet import Flower
from models import Role
from tasks import transfer
from tests.conftest import MB, RESULT_SECONDS, Sender
from tests.deployment import AgentInTest, Deployment, remote, until
from tests.flower.browsing import opened
from worker.agents import add_agent, limit_agent

pytestmark = pytest.mark.skipif(remote(), reason="starts Flower on the local stack")

NAME, PASSWORD = "operator", "seven herring"
SIGN_IN = {"ARGOSY_FLOWER_BASIC_AUTH": f"{NAME}:{PASSWORD}", "FLOWER_UNAUTHENTICATED_API": ""}
RATE = 2 * MB
"""Bytes a second of the agent: its file is on its way for as long as anybody looks."""
SECONDS = 30_000
"""How long a page may take, in milliseconds."""
PICTURES = os.environ.get("ARGOSY_PICTURES")
"""Folder for the picture of docs/; else it goes with the test."""


@pytest.fixture(scope="module")
def flower(deployment: Deployment) -> Iterator[Flower]:
    assert deployment.stack
    started = deployment.stack.start_flower(**SIGN_IN)
    started.stop_grace = 30.0  # a test looks at what it writes down as it ends
    yield started
    started.stop()


@pytest.fixture(scope="module")
def sender(deployment: Deployment) -> Sender:
    """One whose name is like that of a real agent: it is in the picture."""
    added = add_agent(deployment.settings, "weather", Role.WORKER)
    return Sender(AgentInTest(added.id, added.name, added.key, deployment.settings))


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path / "browser", (NAME, PASSWORD)) as made:
        yield made


@pytest.fixture
def moving(deployment: Deployment, sender: Sender, flower: Flower) -> Iterator[AsyncResult]:
    """A file that is on its way for long, and of which Flower has heard."""
    limit_agent(deployment.settings, sender.agent.name, bytes_per_second=RATE)
    source = deployment.make_file("film.mkv", 105 * MB)
    asked = sender.upload(source)
    until(lambda: _hears(flower, asked.id), what="Flower's word of it")
    moves = "SELECT id FROM argosy.transfers WHERE id = :id AND state = 'moving'"
    until(lambda: deployment.query(moves, id=asked.id), what="its first part")
    yield asked
    transfer.cancel.apply_async((asked.id,), headers=sender.headers).get(timeout=RESULT_SECONDS)
    until(lambda: deployment.transfer(asked.id).cleaned_at, what="the clean-up")
    deployment.clear_spool()


def _hears(flower: Flower, task: str) -> bool:
    asked = httpx.get(f"{flower.url}/api/task/info/{task}", auth=(NAME, PASSWORD), timeout=15)
    return asked.status_code == 200


@pytest.mark.parametrize("path", ["/", "/tasks", "/workers", "/broker", "/api/tasks"])
def test_nobody_gets_in_without_the_password(flower: Flower, path: str) -> None:
    for auth in (None, (NAME, "wrong"), ("", "")):
        assert httpx.get(f"{flower.url}{path}", auth=auth, timeout=15).status_code == 401


def test_an_operator_sees_what_moves(
    deployment: Deployment,
    sender: Sender,
    flower: Flower,
    moving: AsyncResult,
    page: Page,
    tmp_path: Path,
) -> None:
    about = f"film.mkv, 105.0 MB, of {sender.agent.name}, {moving.id[:8]}"
    page.goto(f"{flower.url}/tasks")
    rows = page.locator("#tasks-table tbody tr")
    part = rows.filter(has_text="transfer.chunk").filter(has_text=f"1: {about}")
    expect(part.first).to_be_visible(timeout=SECONDS)
    expect(rows.filter(has_text="STARTED").first).to_be_visible(timeout=SECONDS)
    take_picture(page, Path(PICTURES or tmp_path) / "flower.png")
    seen = page.content()

    page.goto(f"{flower.url}/task/{moving.id}")
    expect(page.get_by_text(about).first).to_be_visible(timeout=SECONDS)
    seen += page.content()

    page.goto(f"{flower.url}/workers")
    worker = page.get_by_role("link", name="one@").first
    expect(worker).to_be_visible(timeout=SECONDS)
    expect(page.get_by_text("Online").first).to_be_visible(timeout=SECONDS)
    worker.click()
    expect(page.get_by_text("Max concurrency")).to_be_visible(timeout=SECONDS)
    seen += page.content()
    page.get_by_role("tab", name="Queues").or_(page.get_by_text("Queues", exact=True)).first.click()
    expect(page.get_by_text("argosy.chunks.bulk").first).to_be_visible(timeout=SECONDS)

    page.goto(f"{flower.url}/broker")
    expect(page.get_by_text("argosy.chunks.urgent")).to_be_visible(timeout=SECONDS)
    seen += page.content()
    assert _secrets_in(seen, deployment, sender) == []


def take_picture(page: Page, path: Path) -> None:
    """Of few colours, and so of few bytes."""
    page.screenshot(path=path)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(48)
    few.save(path, optimize=True)


def _secrets_in(seen: str, deployment: Deployment, sender: Sender) -> list[str]:
    assert deployment.stack
    secrets = {
        "the agent's token": sender.headers["argosy_token"],
        "the agent's key": sender.agent.key,
        "the broker's password": deployment.stack.secrets.rabbitmq,
        "Flower's own": PASSWORD,
        **{
            name: value
            for name, value in deployment.environment.items()
            if name.endswith(("KEY", "SECRET"))
        },
    }
    return [name for name, value in secrets.items() if value in seen]


def test_what_it_has_heard_outlives_it(
    deployment: Deployment, flower: Flower, moving: AsyncResult
) -> None:
    """Of the fleet at rest nothing new would be told."""
    flower.stop()
    flower.start()
    assert _hears(flower, moving.id)
