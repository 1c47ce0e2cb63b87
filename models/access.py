"""What row-level security lets an agent do, asked of PostgreSQL itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

NOT_OURS = "not a bucket of the fleet"
"""Why a decision is no in a bucket that argosy.buckets does not name."""

_DECIDE = text("SELECT allowed, because FROM argosy.decide(:agent, :bucket, :path, :access)")


@dataclass(frozen=True)
class Decision:
    """Whether an agent may, and what decides: a role, its own folder, a grant, or what lacks."""

    allowed: bool
    because: str


def decide(session: Session, agent_id: UUID, bucket: str, path: str, access: str) -> Decision:
    """What the policies decide; `access` is `read` or `write`."""
    asked = {"agent": agent_id, "bucket": bucket, "path": path, "access": access}
    return Decision(*session.execute(_DECIDE, asked).one())


@contextmanager
def as_agent(session: Session, agent_id: UUID) -> Iterator[None]:
    """Be the agent for some statements, as Storage is for a request of its.

    In a savepoint: an error takes the role away too, if the session goes on.
    """
    claims = json.dumps({"sub": str(agent_id), "role": "authenticated"})
    claim = text("SELECT set_config('request.jwt.claims', :claims, true)")
    with session.begin_nested():
        session.execute(text("SET LOCAL ROLE authenticated"))
        session.execute(claim, {"claims": claims})
        yield
        session.execute(text("RESET ROLE"))
        session.execute(claim, {"claims": ""})


def sees(session: Session, agent_id: UUID, bucket: str, path: str) -> bool:
    """Whether there is such an object, and the agent may read it."""
    with as_agent(session, agent_id):
        query = text("SELECT 1 FROM storage.objects WHERE bucket_id = :bucket AND name = :path")
        return session.scalar(query, {"bucket": bucket, "path": path}) is not None


def first_unseen(
    session: Session, agent_id: UUID, objects: Sequence[tuple[str, str]]
) -> tuple[str, str] | None:
    """The first of these objects (bucket and path) that is not there, or not the agent's to read.

    One look-up by its name each: a join would ask the policy about every object there is.
    """
    query = text(
        "SELECT bucket, path FROM unnest(cast(:buckets AS text[]), cast(:paths AS text[])) "
        "WITH ORDINALITY AS wanted(bucket, path, number) WHERE (SELECT 1 FROM storage.objects "
        "WHERE bucket_id = wanted.bucket AND name = wanted.path) IS NULL ORDER BY number LIMIT 1"
    )
    asked = {"buckets": [bucket for bucket, _ in objects], "paths": [path for _, path in objects]}
    with as_agent(session, agent_id):
        found = session.execute(query, asked).one_or_none()
    return (found.bucket, found.path) if found else None
