from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from supabase_clients import Agent, make_agent, s3_client
from supabase_servers import Postgres, Supabase

POLICIES = """
    DROP POLICY IF EXISTS own_folder ON storage.objects;
    CREATE POLICY own_folder ON storage.objects FOR ALL TO authenticated
        USING ((storage.foldername(name))[1] = (SELECT auth.uid())::text)
        WITH CHECK ((storage.foldername(name))[1] = (SELECT auth.uid())::text);
    DROP POLICY IF EXISTS drop_box ON storage.objects;
    CREATE POLICY drop_box ON storage.objects FOR INSERT TO authenticated
        WITH CHECK ((storage.foldername(name))[1] = 'drop');
"""


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def supabase(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supabase]:
    server = Supabase(postgres.url, tmp_path_factory.mktemp("supabase") / "data")
    server.start()
    postgres.execute(POLICIES)
    yield server
    server.stop()


@pytest.fixture
def rest(supabase: Supabase) -> Iterator[httpx.Client]:
    """A client of the REST API with the service key."""
    headers = {"authorization": f"Bearer {supabase.service_key}"}
    with httpx.Client(base_url=supabase.url + "/storage/v1", headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
def auth(supabase: Supabase) -> Iterator[httpx.Client]:
    """A client of Auth with the service key."""
    headers = {"authorization": f"Bearer {supabase.service_key}"}
    with httpx.Client(base_url=supabase.url + "/auth/v1", headers=headers, timeout=60) as client:
        yield client


@pytest.fixture
def bucket(rest: httpx.Client) -> str:
    name = f"bucket-{uuid4().hex[:12]}"
    assert rest.post("/bucket", json={"name": name}).status_code == 200
    return name


@pytest.fixture
def s3(supabase: Supabase) -> Any:
    """boto3 with the static keys, which act as service_role."""
    return s3_client(supabase, "static-key", "static-secret")


@pytest.fixture
def agent(supabase: Supabase) -> Iterator[Agent]:
    made = make_agent(supabase)
    yield made
    made.rest.close()


@pytest.fixture
def own_server(postgres: Postgres, tmp_path: Path) -> Iterator[Supabase]:
    """A server that the test may kill."""
    server = Supabase(postgres.url, tmp_path / "data")
    server.start()
    yield server
    server.stop()
