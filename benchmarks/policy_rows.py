"""A deployment of some size, made of rows alone: agents, their objects, and grants on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg.types.json import Jsonb

BUCKET = "agent-transfers"
AGENTS = 1_000
GRANTS = 10_000
DEPTH = 10
"""Folders above the object that is granted by the highest of them."""

PAGE = 1_000
"""Objects that Storage lists at once."""

_OWNER = "md5('agent ' || (n % %(agents)s))::uuid"
_FOLDER = f"{_OWNER} || '/' || md5('transfer ' || n)::uuid || '/'"

_ROWS = (
    "INSERT INTO storage.buckets (id, name) VALUES (%(bucket)s, %(bucket)s) ON CONFLICT DO NOTHING",
    "INSERT INTO argosy.agents (id, name, role) SELECT md5('agent ' || n)::uuid, 'agent-' || n,"
    " CASE WHEN n % 100 = 1 THEN 'admin' WHEN n % 10 = 2 THEN 'reader' ELSE 'worker' END"
    " FROM generate_series(0, %(agents)s - 1) AS n",
    "INSERT INTO storage.objects (bucket_id, name, owner_id, version, metadata)"
    f" SELECT %(bucket)s, {_FOLDER} || 'report.bin', {_OWNER}, gen_random_uuid(), %(metadata)s"
    " FROM generate_series(1, %(objects)s) AS n",
    # Of objects and of folders; one in ten is a role's; they go round the agents.
    "INSERT INTO argosy.grants (bucket, path, agent_id, role, access, granted_by)"
    f" SELECT %(bucket)s, {_FOLDER} || CASE WHEN n % 2 = 0 THEN '' ELSE 'report.bin' END,"
    " CASE WHEN n % 10 > 0 THEN md5('agent ' || (n * 7 + n / %(agents)s) % %(agents)s)::uuid END,"
    f" CASE WHEN n % 10 = 0 THEN 'worker' END, CASE WHEN n % 3 = 0 THEN 'write' ELSE 'read' END,"
    f" {_OWNER} FROM generate_series(1, %(grants)s) AS n",
)
_METADATA = {"size": 10, "eTag": '"5d41402abc4b2a76b9719d911017c592"', "mimetype": "text/plain"}


@dataclass(frozen=True)
class Sample:
    """One agent of them, and an object for each way in which a read of it is decided.

    `pages` are folders of a thousand objects: its own, and one that it was granted.
    """

    agent: str
    admin: str
    objects: Mapping[str, str]
    pages: Mapping[str, str]


def fill(connection: psycopg.Connection, objects: int) -> Sample:
    """Write the rows, and look at them as autovacuum would."""
    values = {
        "bucket": BUCKET,
        "agents": AGENTS,
        "objects": objects,
        "grants": GRANTS,
        "metadata": Jsonb(_METADATA),
    }
    for statement in _ROWS:
        connection.execute(_escaped(statement), values)
    sample = _add_sample(connection)
    look(connection)
    return sample


def look(connection: psycopg.Connection) -> None:
    """Gather statistics, and mark which pages are visible to all; not in a transaction."""
    connection.execute("VACUUM (ANALYZE) storage.objects, argosy.agents, argosy.grants")


def collect(
    connection: psycopg.Connection, sample: Sample, grants: int = GRANTS
) -> tuple[str, str]:
    """Give one agent so many grants; a granted object, and one beside it."""
    folder = f"{_agent(connection, 8)}/collected/"
    connection.execute(
        "INSERT INTO argosy.grants (bucket, path, agent_id, access, granted_by)"
        " SELECT %s, %s::text || n, %s, 'read', gen_random_uuid() FROM generate_series(1, %s) AS n",
        (BUCKET, folder, sample.agent, grants),
    )
    return f"{folder}77", f"{folder}no"


def crowd(connection: psycopg.Connection, agents: int = GRANTS) -> str:
    """Grant one folder to so many more agents; an object in it."""
    folder = f"{_agent(connection, 8)}/crowd/"
    connection.execute(
        "WITH crowd AS (INSERT INTO argosy.agents (id, name) SELECT md5('crowd ' || n)::uuid,"
        " 'crowd-' || n FROM generate_series(1, %s) AS n RETURNING id)"
        " INSERT INTO argosy.grants (bucket, path, agent_id, access, granted_by)"
        " SELECT %s, %s, id, 'read', gen_random_uuid() FROM crowd",
        (agents, BUCKET, folder),
    )
    return f"{folder}report.bin"


def become(connection: psycopg.Connection, agent: str) -> None:
    """Ask from now on, in this transaction, as Storage does for an agent's request."""
    connection.execute(
        "SELECT set_config('role', 'authenticated', true),"
        " set_config('request.jwt.claims', %s::text, true)",
        (Jsonb({"sub": agent, "role": "authenticated"}),),
    )


def _add_sample(connection: psycopg.Connection) -> Sample:
    agent, owner = _agent(connection, 5), _agent(connection, 6)
    deep = "/".join(f"folder-{depth}" for depth in range(2, DEPTH + 1))
    names = {
        "own": f"{agent}/sample/report.bin",
        "granted object": f"{owner}/sample/granted.bin",
        f"granted folder, {DEPTH} above": f"{owner}/{deep}/report.bin",
        "granted to the role": f"{owner}/for workers/report.bin",
        "refused": f"{owner}/sample/refused.bin",
        f"refused, {DEPTH} deep": f"{agent}x/{deep}/report.bin",
    }
    connection.cursor().executemany(
        "INSERT INTO storage.objects (bucket_id, name, version, metadata) VALUES (%s, %s, 'x', %s)",
        [(BUCKET, name, Jsonb(_METADATA)) for name in names.values()],
    )
    connection.cursor().executemany(
        "INSERT INTO argosy.grants (bucket, path, agent_id, role, access, granted_by)"
        " VALUES (%s, %s, %s, %s, 'read', %s)",
        [
            (BUCKET, names["granted object"], agent, None, owner),
            (BUCKET, f"{owner}/folder-2/", agent, None, owner),
            (BUCKET, f"{owner}/for workers/", None, "worker", owner),
            (BUCKET, f"{owner}/page/", agent, None, owner),
        ],
    )
    pages = {"own folder": f"{agent}/page/", "granted folder": f"{owner}/page/"}
    for folder in pages.values():
        connection.execute(
            "INSERT INTO storage.objects (bucket_id, name, version, metadata)"
            " SELECT %s, %s::text || n, 'x', %s FROM generate_series(1, %s) AS n",
            (BUCKET, folder, Jsonb(_METADATA), PAGE),
        )
    return Sample(agent, _agent(connection, 1), names, pages)


def _agent(connection: psycopg.Connection, number: int) -> str:
    row = connection.execute("SELECT md5('agent ' || %s::int)::uuid", (number,)).fetchone()
    assert row is not None
    return str(row[0])


def _escaped(statement: str) -> bytes:
    """`%` is an operator here, and the mark of a value there."""
    return statement.replace(" % ", " %% ").encode()
