"""Where a transfer is, and why it waits: one document for agents and for operators' commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.agent import Agent
from models.chunk import DIGEST, Chunk, ChunkState
from models.dead_letters import document as letter_document
from models.dead_letters import of_transfers
from models.moments import iso
from models.tombstone import told
from models.transfer import State, Transfer
from models.waits import Case, waits

RECENT_SECONDS = 30.0
"""What was stored in this time says how fast a transfer is."""
WHOLE = frozenset({State.COMPLETED, State.EXPIRED})
"""States in which every part is stored, so that the ledger need not be counted."""


@dataclass
class Parts:
    """A transfer's parts by state, the bytes that came lately, and the most attempts at one."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ChunkState, 0))
    recent_bytes: int = 0
    attempts: int = 0

    def by_state(self) -> dict[str, int]:
        """The counts under plain names."""
        return {str(state): count for state, count in self.counts.items()}


def explain(session: Session, transfer: Transfer, *, window: int) -> dict[str, Any]:
    """The status document of one transfer; `window` is the fleet's setting."""
    return explain_all(session, [transfer], window=window)[0]


def explain_all(
    session: Session, transfers: Sequence[Transfer], *, window: int
) -> list[dict[str, Any]]:
    """The status documents of some transfers.

    Ledgers are counted in one query, each by its primary key; it has at most
    10,000 parts. What waits is looked up for those alone that have not ended.
    """
    now = session.scalars(select(func.now())).one()
    ids = [one.id for one in transfers]
    heirs, letters = _heirs(session, ids), of_transfers(session, ids)
    names = _names(session, {transfer.agent_id for transfer in transfers})
    ledgers = _count(session, [one.id for one in transfers if one.state not in WHOLE])
    documents = []
    for transfer in transfers:
        parts = ledgers.get(transfer.id) or _all_stored(transfer)
        case = Case(session, transfer, parts.counts, window, now)
        document = _document(case, parts, names.get(transfer.agent_id))
        document["retried_as"] = heirs.get(transfer.id)
        document["dead_letters"] = [letter_document(one) for one in letters.get(transfer.id, ())]
        documents.append(document)
    return documents


def _heirs(session: Session, transfer_ids: Sequence[UUID]) -> dict[UUID, str]:
    """The transfers that do these over again."""
    query = select(Transfer.retry_of, Transfer.id).where(Transfer.retry_of.in_(transfer_ids))
    return {old: str(anew) for old, anew in session.execute(query) if old}


def _names(session: Session, agent_ids: Iterable[UUID]) -> dict[UUID, str]:
    query = select(Agent.id, Agent.name).where(Agent.id.in_(agent_ids))
    return {row.id: row.name for row in session.execute(query)}


def _all_stored(transfer: Transfer) -> Parts:
    parts = Parts()
    if transfer.state in WHOLE:
        parts.counts[ChunkState.STORED] = transfer.part_count or 1
    return parts


def _count(session: Session, transfer_ids: Sequence[UUID]) -> dict[UUID, Parts]:
    is_recent = Chunk.stored_at > func.now() - timedelta(seconds=RECENT_SECONDS)
    rows = session.execute(
        select(
            Chunk.transfer_id,
            Chunk.state,
            func.count().label("number"),
            func.coalesce(func.sum(Chunk.length).filter(is_recent), 0).label("recent"),
            func.max(Chunk.attempts).label("attempts"),
        )
        .where(Chunk.transfer_id.in_(transfer_ids), Chunk.number != DIGEST)
        .group_by(Chunk.transfer_id, Chunk.state)
    )
    found: dict[UUID, Parts] = {}
    for row in rows:
        parts = found.setdefault(row.transfer_id, Parts())
        parts.counts[row.state] = row.number
        parts.recent_bytes += int(row.recent)
        parts.attempts = max(parts.attempts, row.attempts)
    return found


def _document(case: Case, parts: Parts, agent: str | None) -> dict[str, Any]:
    transfer = case.transfer
    rate = _rate(transfer, parts.recent_bytes, case.now)
    return {
        "id": str(transfer.id),
        "kind": transfer.kind,
        "state": transfer.state,
        "name": transfer.name,
        "bucket": transfer.bucket,
        "path": transfer.object_name,
        "size": transfer.size,
        "bytes_done": transfer.bytes_done,
        "rate": rate,
        "eta_seconds": _eta(transfer, rate),
        "agent": agent,
        "created_at": iso(transfer.created_at),
        "started_at": iso(transfer.started_at),
        "ended_at": iso(transfer.ended_at),
        "expires_at": iso(transfer.expires_at),
        "attempts": max(transfer.attempts, parts.attempts),
        "waits": waits(case),
        "parts": {**parts.by_state(), "total": sum(parts.counts.values())},
        "error": _error(transfer),
        "reference": transfer.reference,
        "tombstone": _tombstone(transfer),
        "retry_of": str(transfer.retry_of) if transfer.retry_of else None,
    }


def _rate(transfer: Transfer, recent_bytes: int, now: datetime) -> float | None:
    """Bytes a second: lately, while it moves; on the whole, once it is completed."""
    if transfer.started_at is None:
        return None
    if transfer.state == State.MOVING:
        seconds = min(RECENT_SECONDS, (now - transfer.started_at).total_seconds())
        return _per_second(recent_bytes, seconds)
    if transfer.state in WHOLE and transfer.ended_at:
        seconds = (transfer.ended_at - transfer.started_at).total_seconds()
        return _per_second(transfer.size or 0, seconds)
    return None


def _per_second(count: int, seconds: float) -> float | None:
    return round(count / seconds, 1) if count and seconds > 0 else None


def _eta(transfer: Transfer, rate: float | None) -> float | None:
    """Seconds until every byte has been moved, at the rate of late."""
    if transfer.state != State.MOVING or not rate:
        return None
    return round(((transfer.size or 0) - transfer.bytes_done) / rate, 1)


def _error(transfer: Transfer) -> dict[str, str | None] | None:
    if transfer.error_code is None:
        return None
    return {"code": transfer.error_code, "message": transfer.error_message}


def _tombstone(transfer: Transfer) -> dict[str, Any] | None:
    """Of a file that is gone: when, why and by whom. Whom it was shared with is not told."""
    return told(transfer.tombstone) if transfer.tombstone else None
