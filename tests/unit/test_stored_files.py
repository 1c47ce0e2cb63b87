"""A listing asks Storage for no more than is to be given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from argosy.options import ListOptions
from argosy.stored_files import StoredFiles
from tests.integration.client.stored import account_on
from tests.unit.auth_server import agent_settings
from tests.unit.storage.scripted import ScriptedServer
from tests.unit.storage.test_control import listed


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.mark.parametrize(("limit", "asked"), [(0, []), (2, [2])])
def test_a_limit(server: ScriptedServer, tmp_path: Path, limit: int, asked: list[int]) -> None:
    server.script(listed("a", "b", cursor="next"))
    files = StoredFiles.__new__(StoredFiles)  # signed in nowhere: nothing but Storage is asked
    files.settings = agent_settings(server.url)
    files._account = account_on(server, tmp_path)
    assert len(list(files.list_files("files", options=ListOptions(limit=limit)))) == limit
    assert [json.loads(request.body)["limit"] for request in server.requests] == asked
