"""A database of a test's own, on the deployment's server, with the schema and the policies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from local.supabase.schema import apply_schema
from tests.deployment import Deployment
from worker.bootstrap import bring_up_database


@contextmanager
def own_database(deployment: Deployment, name: str) -> Iterator[str]:
    """Its URL; the database is dropped afterwards."""
    settings = deployment.settings
    url, fleet_url = (
        make_url(known).set(database=name).render_as_string(hide_password=False)
        for known in (settings.operator_url, settings.database_url)
    )
    with psycopg.connect(settings.operator_url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            apply_schema(url)
            changed = {"operator_database_url": url, "database_url": fleet_url}
            bring_up_database(settings.model_copy(update=changed))
            yield url
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            server.execute(drop)
