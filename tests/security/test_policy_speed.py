"""A read check is a few look-ups in indexes, however many objects, agents and grants there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.errors import Diagnostic

from benchmarks import policy_rows
from benchmarks.policy_rows import BUCKET, Sample
from tests.deployment import Deployment
from tests.security.own_database import own_database

OBJECTS = 100_000
CHECKS = 20
"""Of one object in one connection: PostgreSQL plans the first five anew, then perhaps no more."""

MOST_ROWS = 3
"""Of a table, that a check may look at: what it finds is one."""
MOST_PAGES = 60
"""That a check may look at: about three for each way down an index."""

READ = "SELECT * FROM storage.objects WHERE bucket_id = %s AND name = %s"
PAGE = (
    "SELECT * FROM storage.objects WHERE bucket_id = %s AND starts_with(name, %s)"
    ' ORDER BY name COLLATE "C" LIMIT 1000'
)
DECIDING = ("agents", "grants")
BY_INDEX = {"Index Scan", "Index Only Scan", "Bitmap Heap Scan"}
Plan = dict[str, Any]


@pytest.fixture(scope="module")
def url(deployment: Deployment) -> Iterator[str]:
    with own_database(deployment, "argosy_speed") as made:
        yield made


@pytest.fixture(scope="module")
def sample(url: str) -> Sample:
    with psycopg.connect(url, autocommit=True) as connection:
        filled = policy_rows.fill(connection, OBJECTS)
        for table in ("storage.objects", "argosy.agents", "argosy.grants"):
            # In the middle of a check it would change plans, and what a look-up has to read.
            connection.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)".encode())
    return filled


@pytest.fixture(scope="module")
def crowded(url: str, sample: Sample) -> dict[str, str]:
    """One agent with as many grants as all others have, and one folder granted to as many."""
    with psycopg.connect(url, autocommit=True) as connection:
        granted, refused = policy_rows.collect(connection, sample)
        others = policy_rows.crowd(connection)
        policy_rows.look(connection)
    return {"one of many": granted, "none of many": refused, "granted to many others": others}


@contextmanager
def _as_agent(url: str, agent: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url) as connection:
        policy_rows.become(connection, agent)
        yield connection
        connection.rollback()


WAYS = (
    "own",
    "granted object",
    "granted folder, 10 above",
    "granted to the role",
    "refused",
    "refused, 10 deep",
)
READABLE = WAYS[:4]


def test_every_way_is_looked_at(sample: Sample) -> None:
    assert tuple(sample.objects) == WAYS


@pytest.mark.parametrize("way", WAYS)
def test_reading_one_object_is_one_look_up(url: str, sample: Sample, way: str) -> None:
    with _as_agent(url, sample.agent) as connection:
        query = f"EXPLAIN (ANALYZE, FORMAT JSON) {READ}"
        [scan] = _scans(_explained(connection, query, BUCKET, sample.objects[way]), "objects")
    assert scan["Node Type"] == "Index Scan"
    assert all(column in scan["Index Cond"] for column in ("bucket_id", "name"))
    assert "can_read" in scan["Filter"]
    assert scan["Actual Rows"] == (way in READABLE)
    assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_decision_uses_indexes_alone(url: str, sample: Sample, way: str) -> None:
    tables = ("agents",) if way == "own" else DECIDING
    with _explaining(url, sample.agent) as connection:
        for _ in range(CHECKS):
            scans = _nested(connection, sample.objects[way], DECIDING)
            assert {scan["Relation Name"] for scan in scans} == set(tables)
            assert {scan["Node Type"] for scan in scans} <= BY_INDEX, scans


@pytest.mark.parametrize("way", WAYS)
def test_a_check_reads_a_handful_of_rows(url: str, sample: Sample, way: str) -> None:
    _is_cheap(url, sample.agent, sample.objects[way])


@pytest.mark.parametrize("way", ["one of many", "none of many", "granted to many others"])
def test_a_crowd_costs_no_more(url: str, sample: Sample, crowded: dict[str, str], way: str) -> None:
    _is_cheap(url, sample.agent, crowded[way])


def test_one_of_the_crowd_costs_no_more(url: str, crowded: dict[str, str]) -> None:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT md5('crowd 77')::uuid").fetchone()
    assert row
    _is_cheap(url, str(row[0]), crowded["granted to many others"])


@pytest.mark.parametrize("way", ["own folder", "somebody else's folder"])
def test_a_page_looks_at_its_folder_alone(url: str, sample: Sample, way: str) -> None:
    names = {"own folder": "own", "somebody else's folder": "refused"}
    folder = sample.objects[names[way]].partition("/")[0] + "/"
    with _as_agent(url, sample.agent) as connection:
        query = f"EXPLAIN (ANALYZE, FORMAT JSON) {PAGE}"
        [scan] = _scans(_explained(connection, query, BUCKET, folder), "objects")
        connection.execute("RESET ROLE")
        count = "SELECT count(*) FROM storage.objects WHERE starts_with(name, %s)"
        there = _one(connection, count, folder)
    assert scan["Node Type"] == "Index Scan"
    assert "name >=" in scan["Index Cond"]
    assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) == there


# Looking at it


def _is_cheap(url: str, agent: str, name: str) -> None:
    """Count what some checks of one object read, the first and the later ones."""
    with _as_agent(url, agent) as connection:
        before = _read_so_far(connection)
        pages = [_pages(connection, name) for _ in range(CHECKS)]
        read = _read_so_far(connection)
    assert {table: read[table][0] - before[table][0] for table in DECIDING} == {
        "agents": 0,
        "grants": 0,
    }, "read from end to end"
    rows = {table: (read[table][1] - before[table][1]) / CHECKS for table in DECIDING}
    assert rows["agents"] == 1
    assert rows["grants"] <= MOST_ROWS
    assert max(pages[1:]) <= MOST_PAGES  # the first one reads the catalogue too


def _read_so_far(connection: psycopg.Connection) -> dict[str, tuple[int, int]]:
    """Scans of whole tables, and rows found by indexes, in this transaction."""
    rows = connection.execute(
        "SELECT relname, seq_scan, coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables"
        " WHERE schemaname = 'argosy'"
    )
    return {table: (scans, found) for table, scans, found in rows}


def _pages(connection: psycopg.Connection, name: str) -> int:
    query = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT argosy.can_read(%s, %s)"
    plan = _explained(connection, query, BUCKET, name)
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _explained(connection: psycopg.Connection, query: str, *values: str) -> Plan:
    [document] = _one(connection, query, *values)
    plan: Plan = document["Plan"]
    return plan


def _one(connection: psycopg.Connection, query: str, *values: str) -> Any:
    row = psycopg.ClientCursor(connection).execute(query.encode(), values).fetchone()
    assert row
    return row[0]


def _scans(plan: Plan, *tables: str) -> list[Plan]:
    """The nodes of a plan that read one of these tables."""
    below = [scan for part in plan.get("Plans", ()) for scan in _scans(part, *tables)]
    return [plan, *below] if plan.get("Relation Name") in tables else below


@contextmanager
def _explaining(url: str, agent: str) -> Iterator[psycopg.Connection]:
    """Where PostgreSQL tells the plan of every statement, those inside of functions too."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "LOAD 'auto_explain'; SET LOCAL auto_explain.log_min_duration = 0;"
            "SET LOCAL auto_explain.log_nested_statements = on;"
            "SET LOCAL auto_explain.log_format = json; SET LOCAL client_min_messages = log"
        )
        policy_rows.become(connection, agent)
        yield connection
        connection.rollback()


def _nested(connection: psycopg.Connection, name: str, tables: tuple[str, ...]) -> list[Plan]:
    """What the statements did that a read of one object makes the policies run."""
    told: list[str] = []

    def listen(said: Diagnostic) -> None:
        told.append(said.message_primary or "")

    connection.add_notice_handler(listen)
    connection.execute(READ, (BUCKET, name))
    connection.remove_notice_handler(listen)
    documents = [json.loads(text.partition("plan:")[2]) for text in told if "plan:" in text]
    return [scan for document in documents for scan in _scans(document["Plan"], *tables)]
