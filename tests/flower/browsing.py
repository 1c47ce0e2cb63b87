"""A real Chromium, as an operator's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZE = {"width": 1440, "height": 620}


def browser() -> str:
    """Where it is. Raises AssertionError where tests/flower/install.sh has not been run."""
    named = os.environ.get("ARGOSY_TEST_BROWSER", "chromium")
    found = shutil.which(named) or shutil.which("google-chrome")
    assert found, "there is no Chromium: run tests/flower/install.sh"
    return found


@contextmanager
def opened(folder: Path, user: tuple[str, str] | None = None) -> Iterator[Page]:
    """An empty page, whose user (name and password) signs in where a page asks for it.

    What a page asks another machine for is an error, as is what goes wrong in its scripts.
    """
    wrong: list[str] = []
    credentials = {"username": user[0], "password": user[1]} if user else None
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder,
            executable_path=browser(),
            args=list(FLAGS),
            http_credentials=credentials,  # type: ignore[arg-type]
            viewport=SIZE,  # type: ignore[arg-type]
        )
        page = context.pages[0]
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: _is_ours(request.url) or wrong.append(request.url))
        yield page
        context.close()
    assert wrong == []


def _is_ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:"))
