"""A project beside the deployment's, with a database full of rows that weigh on nobody else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

import httpx
import psycopg
from sqlalchemy import make_url

from argosy.settings import FleetSettings, environment_name
from argosy.storage.signing import Endpoint, SessionSignature
from argosy.tokens import Mint
from benchmarks import policy_rows
from benchmarks.policy_rows import BUCKET, GRANTS
from local.servers.supabase import Supabase
from local.stack import Stack
from local.supabase.schema import apply_schema
from worker.bootstrap import bring_up_database

CONTENT = b"0123456789"
_DATABASE = "benchmark_policies"


@dataclass(frozen=True)
class Rows:
    """The database, filled: who asks for what."""

    url: str
    sample: policy_rows.Sample
    collected: tuple[str, str]
    crowded: str

    @property
    def objects(self) -> Mapping[str, str]:
        """By the way in which it is decided whether the agent may read them."""
        granted, refused = self.collected
        return {
            **self.sample.objects,
            f"granted, one of {GRANTS:,} grants": granted,
            f"refused, none of {GRANTS:,} grants": refused,
            f"refused, granted to {GRANTS:,} others": self.crowded,
        }

    @property
    def stored(self) -> str:
        """An object that has bytes too."""
        return f"{self.sample.agent}/stored.bin"


class Project:
    """Storage over these rows, on the stack's PostgreSQL."""

    def __init__(self, stack: Stack, objects: int) -> None:
        self._stack = stack
        self._objects = objects
        self._server: Supabase | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Storage, while it is needed; the rows are made before the first time."""
        environment = {**self._stack.environment, "SUPABASE_DB_URL": self.rows.url}
        folder = self._stack.data / "policies"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._server = Supabase(folder, lambda: environment)
        self._server.start()
        try:
            self._store()
            yield
        finally:
            self._server.stop()

    @property
    def url(self) -> str:
        """Where Storage is."""
        assert self._server is not None, "only while it runs"
        return self._server.url

    @property
    def tokens(self) -> Mapping[str, str]:
        """Of the agent, and of the service role, whom row-level security lets pass."""
        return {
            "by the agent": Mint(self._settings).token_for(UUID(self.rows.sample.agent)),
            "without policies": self._settings.supabase_service_role_key.get_secret_value(),
        }

    def signature(self, token: str) -> SessionSignature:
        """Of requests to the S3 protocol."""
        settings = self._settings
        anon_key = settings.supabase_anon_key.get_secret_value()
        endpoint = Endpoint(f"{self.url}/storage/v1/s3", settings.project_ref, anon_key)
        return SessionSignature(endpoint, lambda: token)

    @cached_property
    def rows(self) -> Rows:
        """Made once, however many rounds there are."""
        url = self._make_database()
        with psycopg.connect(url, autocommit=True) as connection:
            sample = policy_rows.fill(connection, self._objects)
            collected = policy_rows.collect(connection, sample)
            crowded = policy_rows.crowd(connection)
            policy_rows.look(connection)
        return Rows(url, sample, collected, crowded)

    def _make_database(self) -> str:
        with psycopg.connect(self._stack.postgres.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {_DATABASE}".encode())
        url, fleet_url = (
            make_url(known).set(database=_DATABASE).render_as_string(hide_password=False)
            for known in (self._settings.operator_url, self._settings.database_url)
        )
        apply_schema(url)
        changed = {"operator_database_url": url, "database_url": fleet_url}
        bring_up_database(self._settings.model_copy(update=changed))
        return url

    def _store(self) -> None:
        headers = {"Authorization": f"Bearer {self.tokens['without policies']}", "x-upsert": "true"}
        url = f"{self.url}/storage/v1/object/{BUCKET}/{self.rows.stored}"
        httpx.post(url, content=CONTENT, headers=headers).raise_for_status()

    @cached_property
    def _settings(self) -> FleetSettings:
        known = self._stack.operator_environment
        names = {environment_name(field): field for field in FleetSettings.model_fields}
        return FleetSettings.model_validate(
            {field: known[name] for name, field in names.items() if name in known}
        )
