"""A past of any size, made of rows alone; what is on its way stays as much, however long that is.

Of a hundred transfers one waits for its turn, one failed, seven files are gone and the rest are
there. Each has a chunk, four events and a caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import psycopg

AGENTS = 10
BUCKET = "agent-transfers"
FEW = 4
"""Of each kind that is due to be sent again."""
OVERDUE = 600
"""Files whose time is over: more than a sweep takes at once."""
MOVING = 20
"""Transfers on their way, of so many parts each."""
PARTS = 8

_AGENT = f"md5('agent ' || ((n + n / 100) % {AGENTS}))::uuid"
_ID = "md5('transfer ' || n)::uuid"
_NAME = f"{_AGENT} || '/' || {_ID} || '/report.bin'"
_STATE = """CASE WHEN n % 100 = 0 THEN 'queued' WHEN n % 100 = 2 THEN 'failed'
    WHEN n % 100 BETWEEN 3 AND 9 THEN 'expired' ELSE 'completed' END"""
_KIND = "CASE WHEN n % 3 = 0 AND n % 100 > 9 THEN 'download' ELSE 'upload' END"
_AT = "now() - interval '1 hour' - (n * 7919 % 2592000) * interval '1 second'"
"""Some time within the last month; the numbers go through it again and again."""

_PAST = (
    f"""INSERT INTO argosy.transfers (id, kind, state, agent_id, request_sha256, bucket,
        object_name, name, content_type, path, size, sha256, md5, etag, part_count, chunks_left,
        bytes_done, turn_at, created_at, started_at, ended_at, cleaned_at, expires_at, reference,
        tombstone)
    SELECT {_ID}, {_KIND}, {_STATE}, {_AGENT}, sha256(n::text::bytea)::text, %(bucket)s, {_NAME},
        'report.bin', 'text/plain', '/spool/report.bin', 10000, sha256(n::text::bytea)::text,
        md5(n::text), md5(n::text), 1, 0, 10000, {_AT}, {_AT},
        CASE WHEN n % 100 > 0 THEN {_AT} END,
        CASE WHEN n % 100 > 0 THEN {_AT} + interval '1 second' END,
        CASE WHEN n % 100 = 2 THEN now() END,
        CASE WHEN n % 100 = 1 OR n % 100 > 9 THEN now() + interval '1 day' END,
        CASE WHEN n % 100 > 9 THEN jsonb_build_object('id', {_ID}, 'path', {_NAME}) END,
        CASE WHEN n % 100 BETWEEN 3 AND 9 THEN jsonb_build_object('at', {_AT}) END
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n""",
    f"""INSERT INTO argosy.chunks (transfer_id, number, "offset", length, state, epoch, attempts,
        etag, stored_at)
    SELECT {_ID}, 1, 0, 10000, 'stored', 1, 1, md5(n::text), {_AT}
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n WHERE n % 100 > 0""",
    f"""INSERT INTO argosy.events (name, at, agent_id, transfer_id, from_state, to_state)
    SELECT 'transfer.' || step, {_AT}, {_AGENT}, {_ID}, 'queued', step
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
        unnest(ARRAY['queued', 'moving', 'assembling', 'completed']) AS step""",
    f"""INSERT INTO argosy.continuations (task_id, transfer_id, request, republish_at, settled_at)
    SELECT {_ID}, {_ID}, '{{"root_id": "x"}}', {_AT}, CASE WHEN n % 100 > 0 THEN now() END
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n""",
    f"""INSERT INTO storage.objects (bucket_id, name, owner_id, version, metadata)
    SELECT %(bucket)s, {_NAME}, {_AGENT}, 'x', '{{"size": 10000}}'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
    WHERE n % 100 NOT IN (0, 2, 3, 4, 5, 6, 7, 8, 9)""",
)
_AGENTS = f"""INSERT INTO argosy.agents (id, name, role)
    SELECT {_AGENT}, 'agent-' || n, 'worker' FROM generate_series(0, {AGENTS} - 1) AS n"""
_LIVE = f"""INSERT INTO argosy.transfers (id, kind, state, agent_id, request_sha256, bucket,
        object_name, name, content_type, path, size, part_size, part_count, chunks_left,
        admitted_at, started_at, ended_at, republish_at, expires_at)
    SELECT md5(%(what)s::text || n)::uuid, 'upload', %(state)s::text,
        md5('agent ' || (n %% {AGENTS}))::uuid, '', %(bucket)s, %(what)s::text || n, 'report.bin',
        'text/plain', '/spool/report.bin', 80000, 10000, 8, 8, now(), now(),
        CASE WHEN %(state)s::text IN ('failed', 'completed') THEN now() END,
        now() - interval '1 minute',
        CASE WHEN %(state)s::text = 'completed' THEN now() - n * interval '1 second' END
    FROM generate_series(1, %(many)s::int) AS n"""
_CALLERS = """INSERT INTO argosy.continuations (task_id, transfer_id, request)
    SELECT id, id, '{}' FROM argosy.transfers WHERE object_name LIKE %(what)s::text || '%%'"""
_CHUNKS = """INSERT INTO argosy.chunks (transfer_id, number, "offset", length, state, lease_until,
        republish_at)
    SELECT id, number, 0, 10000, 'moving', until, until
    FROM argosy.transfers, cast(%(until)s::text AS timestamptz) AS until,
        generate_series(1, 8) AS number
    WHERE object_name LIKE %(what)s::text || '%%'"""


@dataclass(frozen=True)
class Sample:
    """Transfers of one agent's to look at: on its way, with late parts, due to be planned."""

    agent: UUID
    moving: UUID
    late: UUID
    planned: UUID
    object_name: str


def begin(connection: psycopg.Connection) -> Sample:
    """The agents, and what is on its way."""
    connection.execute(
        "INSERT INTO storage.buckets (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (BUCKET, BUCKET),
    )
    connection.execute(_escaped(_AGENTS), {})
    for what, state, many in (
        ("moving", "moving", MOVING),
        ("late", "moving", FEW),
        ("due", "queued", FEW),
        ("assembling", "assembling", FEW),
        ("unclean", "failed", FEW),
        ("overdue", "completed", OVERDUE),
    ):
        values = {"what": what, "state": state, "many": many, "bucket": BUCKET}
        connection.execute(_LIVE.encode(), values)
        if what != "overdue":  # its caller has been told
            connection.execute(_CALLERS.encode(), values)
    for what, until in (("moving", "2100-01-01"), ("late", "2020-01-01")):
        connection.execute(_CHUNKS.encode(), {"what": what, "until": until})
    return _sample(connection)


def _sample(connection: psycopg.Connection) -> Sample:
    query = (
        "SELECT md5('agent 1')::uuid, md5('moving1')::uuid, md5('late1')::uuid, md5('due1')::uuid,"
        f" {_NAME} FROM (VALUES (11)) AS one (n)"
    )
    row = connection.execute(_escaped(query), {}).fetchone()
    assert row is not None
    return Sample(*row)


def grow(connection: psycopg.Connection, before: int, after: int) -> None:
    """Go from so many transfers of the past to so many, and look at them."""
    values = {"first": before + 1, "last": after, "bucket": BUCKET}
    for statement in _PAST:
        connection.execute(_escaped(statement), values)
    look(connection)


def look(connection: psycopg.Connection) -> None:
    """As autovacuum does."""
    connection.execute(
        "VACUUM (ANALYZE) argosy.transfers, argosy.chunks, argosy.events, argosy.continuations,"
        " argosy.agents, storage.objects"
    )


def _escaped(statement: str) -> bytes:
    """`%` is an operator here, and the mark of a value there."""
    return statement.replace(" % ", " %% ").encode()
