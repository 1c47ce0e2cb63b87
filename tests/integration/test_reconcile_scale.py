"""A comparison of many files reads each of them a few times, however many there are."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from prometheus_client import generate_latest

from argosy.settings import FleetSettings
from local.servers.postgres import Postgres
from models.database import make_engine, make_sessions
from models.reconcile import counts
from tests.integration.test_bootstrap import project
from worker.bootstrap import bring_up_database
from worker.metrics import Books

BUCKETS = ("agent-transfers", "persistent-data")
FEW, MANY = 10_000, 100_000

# Of each thousand files one has lost its object; of each thousand objects one is a stray.
FILL = """
SET session_replication_role = replica;
INSERT INTO storage.buckets (id, name) VALUES ('agent-transfers', 'agent-transfers');
INSERT INTO argosy.agents (id, name) VALUES ('00000000-0000-0000-0000-00000000000a', 'a');
INSERT INTO argosy.transfers (id, kind, state, agent_id, request_sha256, bucket, object_name, name,
    content_type, path, size, sha256, ended_at)
SELECT id, 'upload', CASE WHEN n % 10 = 0 THEN 'expired' ELSE 'completed' END,
    '00000000-0000-0000-0000-00000000000a', '', 'agent-transfers',
    '00000000-0000-0000-0000-00000000000a/' || id || '/cargo.bin', 'cargo.bin', 'text/plain', '',
    1, '', now() - interval '3 d'
FROM (SELECT n, gen_random_uuid() AS id FROM generate_series(1, {count}) n) AS made;
INSERT INTO storage.objects (bucket_id, name, metadata, created_at, updated_at)
SELECT 'agent-transfers', object_name, '{{"size": 1}}', ended_at, ended_at
FROM (SELECT *, row_number() OVER () AS n FROM argosy.transfers WHERE state = 'completed') t
WHERE n % 1000 <> 0;
INSERT INTO storage.objects (bucket_id, name, metadata, created_at, updated_at)
SELECT 'agent-transfers',
    '00000000-0000-0000-0000-00000000000a/' || gen_random_uuid() || '/stray.bin', '{{"size": 1}}',
    now() - interval '3 d', now() - interval '3 d'
FROM generate_series(1, {count} / 1000);
INSERT INTO argosy.derivatives (transfer_id, kind, parameters, state, object_name, size, updated_at)
SELECT id, 'thumbnail', '{{}}', 'made', replace(object_name, 'cargo.bin', 'derived/t.webp'), 1,
    ended_at
FROM (SELECT *, row_number() OVER () AS n FROM argosy.transfers WHERE state = 'completed') t
WHERE n % 1000 <> 0 AND n % 2 = 0;
INSERT INTO storage.objects (bucket_id, name, metadata, created_at, updated_at)
SELECT 'agent-transfers', object_name, '{{"size": 1}}', updated_at, updated_at
FROM argosy.derivatives;
INSERT INTO argosy.grants (bucket, path, role, access, granted_by, transfer_id, created_at)
SELECT 'agent-transfers', object_name, 'reader', 'read', agent_id, id, ended_at
FROM argosy.transfers WHERE state = 'completed';
INSERT INTO argosy.pins (message_id, agent_id, bucket, path, at)
SELECT id, agent_id, bucket, object_name, ended_at FROM argosy.transfers WHERE state = 'completed';
INSERT INTO argosy.events (name, object)
SELECT 'transfer.completed', bucket || '/' || object_name FROM argosy.transfers;
"""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("postgres"), uuid4().hex)
    server.start()
    yield server
    server.stop()


@contextmanager
def filled(postgres: Postgres, count: int) -> Iterator[FleetSettings]:
    """A project with so many files, which nobody has analysed yet."""
    with project(postgres) as settings:
        bring_up_database(settings)
        with psycopg.connect(settings.operator_url) as owner:
            owner.execute(FILL.format(count=count).encode())
        yield settings


def _read(settings: FleetSettings) -> Counter[str]:
    """Rows that PostgreSQL has read of each table, by an index and without."""
    with psycopg.connect(settings.operator_url) as connection:
        rows = connection.execute(
            "SELECT relname, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) "
            "FROM pg_stat_user_tables WHERE schemaname IN ('argosy', 'storage')"
        ).fetchall()
    return Counter({str(name): int(many) for name, many in rows})


def _compared(settings: FleetSettings) -> tuple[dict[str, int], Counter[str], int]:
    """As the fleet: the counts, the rows that were read for them, and the most memory it took."""
    before, engine = _read(settings), make_engine(settings.database_url)
    sessions = make_sessions(engine)
    tracemalloc.start()
    try:
        with sessions.begin() as session:
            found = counts(lambda look: look(session), BUCKETS, older_than=3600)
        memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        engine.dispose()  # a connection that ends tells what it has read
    return found, _read(settings) - before, memory


def _scraped(settings: FleetSettings, times: int) -> tuple[str, Counter[str]]:
    """What Prometheus is told, and the rows that were read for so many scrapes at once."""
    before, books = _read(settings), Books(settings)
    for _ in range(times):
        told = generate_latest(books).decode()
    books.close()
    return told, _read(settings) - before


def test_many_files_are_read_a_few_times_each(postgres: Postgres) -> None:
    with filled(postgres, FEW) as settings:
        few, read_of_few, _ = _compared(settings)
    with filled(postgres, MANY) as settings:
        many, read_of_many, memory = _compared(settings)
        scraped, read_of_first = _scraped(settings, 1)
        _, read_of_two = _scraped(settings, 2)
    expected = {"object_without_transfer": MANY // 1000, "transfer_without_object": 90}
    assert {kind: count for kind, count in many.items() if count} == expected
    assert few["object_without_transfer"] == FEW // 1000
    assert read_of_many.total() < 15 * MANY
    assert read_of_many.total() < 12 * read_of_few.total()
    assert memory < 20_000_000
    assert "argosy_up 1.0" in scraped
    # What each agent takes up is looked up once a minute, and reads each file once.
    assert read_of_first["transfers"] < MANY + 100
    assert read_of_two["transfers"] - read_of_first["transfers"] < 100
