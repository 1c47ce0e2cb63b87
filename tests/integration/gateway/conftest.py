from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from local.servers.postgres import Postgres
from local.servers.supabase import Supabase
from local.supabase.keys import make_keys
from tests.integration.gateway.servers import Gateway, running
from tests.unit.storage.scripted import ScriptedServer, answer

SECRET = "a-secret-of-more-than-thirty-two-characters"


@pytest.fixture(scope="session")
def keys() -> tuple[str, str]:
    """The project's anon key and its service key."""
    return make_keys(SECRET)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"), "password")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def supabase(
    postgres: Postgres, keys: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Supabase]:
    environment = {
        "SUPABASE_DB_URL": postgres.url,
        "SUPABASE_JWT_SECRET": SECRET,
        "SUPABASE_ANON_KEY": keys[0],
        "SUPABASE_SERVICE_ROLE_KEY": keys[1],
    }
    server = Supabase(tmp_path_factory.mktemp("supabase"), lambda: environment)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def gateway(supabase: Supabase) -> Iterator[Gateway]:
    """The gateway in front of Supabase."""
    with running(supabase.url) as made:
        yield made


@pytest.fixture
def rest(gateway: Gateway, keys: tuple[str, str]) -> Iterator[httpx.Client]:
    """Storage's REST API through the gateway, with the service key."""
    headers = {"authorization": f"Bearer {keys[1]}", "apikey": keys[0]}
    with httpx.Client(base_url=f"{gateway.url}/storage/v1", headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
def bucket(rest: httpx.Client) -> str:
    name = f"bucket-{uuid4().hex[:12]}"
    assert rest.post("/bucket", json={"name": name}).status_code == 200
    return name


@pytest.fixture(scope="session")
def upstream() -> Iterator[ScriptedServer]:
    """A server that answers what a test tells it, and remembers what it was asked."""
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def _scripted_gateway(upstream: ScriptedServer) -> Iterator[Gateway]:
    with running(upstream.url) as made:
        yield made


@pytest.fixture
def scripted(_scripted_gateway: Gateway, upstream: ScriptedServer) -> Gateway:
    """The gateway in front of `upstream`, which answers 200 until told otherwise."""
    upstream.script(answer())
    return _scripted_gateway
