"""What the fleet asks the database over and over, and what must not cost more as the past grows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from argosy.storage.documents import StoredPart, completion
from benchmarks.growth_cost import Work
from benchmarks.growth_rows import BUCKET, Sample
from models import Agent, State, Transfer
from models.chunk_claims import claim_chunk
from models.continuations import due_assemblies, due_cleanups, due_continuations, due_plans
from models.due_chunks import due_chunks, due_windows, expired_leases
from models.forgetting import forget_transfers
from models.history import newest
from models.ledger import lay_out, stored_parts
from models.overdue import Terms, look, page
from models.status import explain, explain_all
from models.storing import store_chunk
from models.transitions import claim
from models.turns import Slots, admit, has_room
from models.usage import bytes_in_a_day, bytes_stored
from models.window import open_window

LEASE: Mapping[str, Any] = {"lease_seconds": 30.0, "worker": "benchmark"}
AGAIN: Mapping[str, Any] = {"limit": 500, "republish_seconds": 60.0}
SLOTS = Slots(64)
PAGE = 50
PART_SIZE = 5 * 1024**2
TERMS = Terms(BUCKET, "persistent-data", pin_days=30, retention_days=7)
_LIST = (
    "SELECT id, name, metadata, updated_at FROM storage.objects WHERE bucket_id = :bucket"
    ' AND starts_with(name, :prefix) ORDER BY name COLLATE "C" LIMIT 100'
)
_READ = "SELECT id FROM storage.objects WHERE bucket_id = :bucket AND name = :name"
_THROUGHPUT = "SELECT * FROM argosy.throughput_hourly WHERE hour > now() - interval '1 day'"
_FAILURES = "SELECT * FROM argosy.failures_by_reason"


def work_on_rows(sample: Sample) -> Mapping[str, Work]:
    """By name; all of it is to stay as it is however many rows there are."""
    return {
        "claim a transfer": lambda s: claim(
            s, sample.planned, frozenset({State.QUEUED}), lease_seconds=30, worker="benchmark"
        ),
        "claim a chunk": lambda s: claim_chunk(s, sample.late, 1, **LEASE),
        "claim and store a chunk": lambda s: _store(s, sample.late, 1),
        "turns: is there room": lambda s: has_room(s, s.get_one(Agent, sample.agent), SLOTS),
        "turns: admit": lambda s: admit(s, SLOTS, republish_seconds=60),
        **_resume(),
        "sweep: next batch": lambda s: s.execute(page(TERMS, None)).all(),
        "sweep: look at 500": _look,
        "forget: next batch": lambda s: forget_transfers(s, sample.agent, 5, None),
        "status of one": lambda s: explain(s, s.get_one(Transfer, sample.moving), window=8),
        "history, an agent's page": lambda s: _history(s, sample.agent),
        "history, everybody's page": lambda s: _history(s, None),
        "policy: read one object": lambda s: _as_agent(
            s, sample, _READ, {"bucket": BUCKET, "name": sample.object_name}
        ),
        "policy: list a folder": lambda s: _as_agent(
            s, sample, _LIST, {"bucket": BUCKET, "prefix": sample.object_name.rpartition("/")[0]}
        ),
    }


def work_on_all(sample: Sample) -> Mapping[str, Work]:
    """What looks at all rows of a kind, and may cost as much more as there are more of them.

    Callers are looked through while their transfers are on their way, or wait to be.
    """
    return {
        "resume: callers": lambda s: due_continuations(s, **AGAIN),
        "usage of an agent": lambda s: (
            bytes_stored(s, sample.agent),
            bytes_in_a_day(s, sample.agent),
        ),
        "view throughput_hourly, a day": lambda s: s.execute(text(_THROUGHPUT)).all(),
        "view failures_by_reason": lambda s: s.execute(text(_FAILURES)).all(),
    }


def _resume() -> Mapping[str, Work]:
    return {
        "resume: plans": lambda s: due_plans(s, **AGAIN),
        "resume: chunks": lambda s: due_chunks(s, **AGAIN),
        "resume: windows": lambda s: due_windows(s, window=8, window_of=_window_of, **AGAIN),
        "resume: assemblies": lambda s: due_assemblies(s, **AGAIN),
        "resume: clean-ups": lambda s: due_cleanups(s, **AGAIN),
        "resume: leases": expired_leases,
    }


def _window_of(_session: Session, _agent: UUID) -> int:
    return 8


def _look(session: Session) -> object:
    files = [row.id for row in session.execute(page(TERMS, None))]
    return look(session, TERMS, files)


def _history(session: Session, agent: UUID | None) -> object:
    found = newest(session, agent_id=agent, before=None, limit=PAGE)
    return explain_all(session, found, window=8)


def _as_agent(session: Session, sample: Sample, query: str, values: Mapping[str, Any]) -> object:
    """As Storage asks for an agent."""
    owner = sample.object_name.partition("/")[0]
    claims = f'{{"sub": "{owner}", "role": "authenticated"}}'
    session.execute(
        text(
            "SELECT set_config('role', 'authenticated', true),"
            " set_config('request.jwt.claims', :claims, true)"
        ),
        {"claims": claims},
    )
    found = session.execute(text(query), values).all()
    if len(found) != 1:
        raise LookupError(f"{owner} sees {len(found)} objects, not its one")
    return found


def _store(session: Session, transfer: UUID, number: int) -> None:
    claimed = claim_chunk(session, transfer, number, takeover=True, **LEASE)
    if claimed is None:
        raise LookupError(f"chunk {number} is not to be had")
    stored = store_chunk(session, claimed, "x" * 32, republish_seconds=60, progress_seconds=0.5)
    if not stored.won:
        raise LookupError(f"chunk {number} was not stored")


def work_on_parts(transfer: UUID, parts: int) -> Mapping[str, Work]:
    """Of one transfer with so many parts, of which the last is yet to be stored.

    What goes over all parts may cost as much more as there are more of them.
    """
    return {
        "claim a part": lambda s: claim_chunk(s, transfer, parts - 1, **LEASE),
        "claim and store a part, at the end": lambda s: _store(s, transfer, parts - 1),
    }


def work_on_all_parts(transfer: UUID, parts: int) -> Mapping[str, Work]:
    """What goes over all parts once."""
    size = parts * PART_SIZE
    return {
        "lay out": lambda s: lay_out(s, transfer, size, PART_SIZE, digest=True),
        "parts for Complete": lambda s: _document(s, transfer),
        "status": lambda s: explain(s, s.get_one(Transfer, transfer), window=8),
    }


def _document(session: Session, transfer: UUID) -> bytes:
    parts = stored_parts(session, transfer)
    return completion([StoredPart(part.number, part.etag or "x" * 32) for part in parts])


def lay_out_transfer(session: Session, agent: UUID, parts: int) -> UUID:
    """A transfer that moves, with all but its last four parts stored, two of them on their way."""
    transfer: UUID = session.execute(text("SELECT gen_random_uuid()")).scalar_one()
    now = datetime.now(UTC)
    session.add(
        Transfer(
            id=transfer, kind="upload", state=State.MOVING, agent_id=agent, request_sha256="",
            bucket=BUCKET, object_name=f"parts-{parts}", name="large.bin", path="/spool/large",
            content_type="text/plain", size=parts * PART_SIZE, part_size=PART_SIZE,
            part_count=parts, chunks_left=4, admitted_at=now, started_at=now,
            republish_at=now + timedelta(days=1),
        )
    )  # fmt: skip
    session.flush()
    lay_out(session, transfer, parts * PART_SIZE, PART_SIZE, digest=False)
    values = {"transfer": transfer, "parts": parts}
    session.execute(
        text(
            "UPDATE argosy.chunks SET state = 'stored', etag = md5(number::text), stored_at = now()"
            " WHERE transfer_id = :transfer AND number <= :parts - 4"
        ),
        values,
    )
    open_window(session, transfer, 3, 3600)
    return transfer
