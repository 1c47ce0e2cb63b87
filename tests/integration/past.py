"""Transfers of long ago, entered by hand, and what forgets them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from models import Chunk, Event, Transfer
from tests.deployment import AgentInTest, Deployment

LONG_AGO = timedelta(days=401)
"""Longer than the past is kept."""


def ago(days: float) -> datetime:
    """A moment of the past."""
    return datetime.now(UTC) - timedelta(days=days)


def tombstone(days: float) -> dict[str, Any]:
    """Of a file that went so long ago."""
    return {"at": ago(days).isoformat(), "why": "expired", "by": "transfer.sweep"}


def enter(deployment: Deployment, owner: AgentInTest, **columns: Any) -> UUID:
    """A download that completed 401 days ago, but for what `columns` say; with a chunk, an event.

    The event is as old, whoever says what.
    """
    identity = uuid4()
    row = {
        "id": identity,
        "kind": "download",
        "state": "completed",
        "agent_id": owner.id,
        "request_sha256": "",
        "bucket": deployment.settings.bucket,
        "object_name": f"{owner.id}/{identity}/file.bin",
        "name": "file.bin",
        "content_type": "text/plain",
        "path": "",
        "size": 7,
        "created_at": ago(402),
        "started_at": ago(401.5),
        "ended_at": ago(401),
        **columns,
    }
    event = Event(name="transfer.queued", transfer_id=identity, agent_id=owner.id, at=ago(402))

    def add(session: Any) -> None:
        session.add(Transfer(**row))
        session.flush()
        session.add_all([event, Chunk(transfer_id=identity, number=1, offset=0, length=7)])

    deployment.transact(add)
    return identity


def enter_many(deployment: Deployment, owner: AgentInTest, count: int) -> None:
    """As many downloads of long ago, with an event each."""
    deployment.query(
        "WITH made AS (INSERT INTO argosy.transfers (id, kind, state, agent_id, request_sha256, "
        "bucket, object_name, name, content_type, path, created_at, ended_at) "
        "SELECT gen_random_uuid(), 'download', 'completed', :agent, '', 'agent-transfers', "
        "n::text, 'file.bin', 'text/plain', '', now() - interval '402 days', "
        "now() - interval '401 days' FROM generate_series(1, :count) AS n RETURNING id) "
        "INSERT INTO argosy.events (name, at, agent_id, transfer_id) "
        "SELECT 'transfer.queued', now() - interval '402 days', :agent, id FROM made RETURNING id",
        agent=owner.id,
        count=count,
    )


def left_of(deployment: Deployment, transfer: UUID) -> tuple[int, int, int]:
    """How many rows, chunks and events there are of it."""
    [row] = deployment.query(
        "SELECT (SELECT count(*) FROM argosy.transfers WHERE id = :id) AS transfers, "
        "(SELECT count(*) FROM argosy.chunks WHERE transfer_id = :id) AS chunks, "
        "(SELECT count(*) FROM argosy.events WHERE transfer_id = :id) AS events",
        id=transfer,
    )
    return row.transfers, row.chunks, row.events


def left_to(deployment: Deployment, owner: AgentInTest) -> tuple[int, int]:
    """How many transfers, and events of long ago, an agent has."""
    [row] = deployment.query(
        "SELECT (SELECT count(*) FROM argosy.transfers WHERE agent_id = :id) AS transfers, "
        "(SELECT count(*) FROM argosy.events WHERE agent_id = :id "
        "AND at < now() - interval '400 days') AS events",
        id=owner.id,
    )
    return row.transfers, row.events


def execute(deployment: Deployment, statement: str, **values: Any) -> None:
    """A statement of the operator's."""
    deployment.transact(lambda session: session.execute(text(statement), values))
