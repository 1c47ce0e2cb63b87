"""Whether an agent may do each operation on a path, what decides, and what is missing.

PostgreSQL is asked as it is by Storage: under the agent's role and claims, through
the functions that the installed policies call.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from models import Access, Agent
from models.access import as_agent, decide
from worker import policies
from worker.agents import find_agent

OPERATIONS = {
    "read": ("select",),
    "sign": ("select",),
    "list": ("select",),
    "write": ("insert",),
    "upsert": ("select", "insert", "update"),
    "delete": ("select", "delete"),
    "multipart": ("select", "insert", "update"),
}
"""What Storage asks the policies for; S3 writes are upserts, whatever is there."""

_LETTERS = {"select": "r", "insert": "a", "update": "w", "delete": "d"}
"""The same, as pg_policy has it."""

_ADVICE = {
    "agent is disabled": "`argosy agents enable {name}`",
    "not a bucket of the fleet": "use a bucket that `argosy bootstrap` has made",
    "name has an empty, . or .. segment": "use a path without such segments",
    "readers do not write": "make it a worker, or have somebody else write",
    "no grant": "its owner or an admin: transfer.share(file, [{name!r}], access={access!r})",
}


@dataclass(frozen=True)
class Verdict:
    """One operation: allowed or not, by which policies, because of what, and what is missing."""

    operation: str
    allowed: bool
    policies: tuple[str, ...]
    because: str
    missing: str


def examine_access(session: Session, name: str, bucket: str, path: str) -> list[Verdict]:
    """A verdict for each operation. Raises InvalidRequest where there is no such agent."""
    agent = find_agent(session, name)
    differing = policies.differing(session)
    restrictive = [one for one in policies.others(session) if not one.permissive]
    return [
        _verdict(session, agent, bucket, path, operation, differing, restrictive)
        for operation in OPERATIONS
    ]


def _verdict(
    session: Session,
    agent: Agent,
    bucket: str,
    path: str,
    operation: str,
    differing: set[str],
    restrictive: Sequence[policies.Policy],
) -> Verdict:
    asked = tuple(f"argosy_{command}" for command in OPERATIONS[operation])
    access = Access.READ if asked == ("argosy_select",) else Access.WRITE
    decision = decide(session, agent.id, bucket, path, access)
    wrong = [policy for policy in asked if policy in differing]
    obeyed = _obeyed(session, agent.id, bucket, path, access) == decision.allowed
    forbidding = _forbidding(session, agent.id, bucket, path, operation, restrictive)
    missing = ""
    if wrong:
        missing = f"policy {', '.join(wrong)} lacks or differs: run `argosy bootstrap`"
    elif not obeyed:
        missing = "the policies' function decides otherwise: run `argosy bootstrap`"
    elif not decision.allowed:
        missing = _advice(session, agent, bucket, path, access, decision.because)
    elif forbidding:
        missing = f"somebody else's restrictive policy forbids it: {', '.join(forbidding)}"
    allowed = decision.allowed and obeyed and not wrong and not forbidding
    return Verdict(operation, allowed, asked, decision.because, missing)


def _forbidding(
    session: Session,
    agent_id: UUID,
    bucket: str,
    path: str,
    operation: str,
    restrictive: Sequence[policies.Policy],
) -> list[str]:
    """Restrictive policies that such an object of the agent's own would not pass."""
    row = json.dumps({"bucket_id": bucket, "name": path, "owner_id": str(agent_id)})
    return [
        one.name
        for one in restrictive
        if one.table == "storage.objects"
        and any(
            not _passes(session, agent_id, row, condition)
            for command in OPERATIONS[operation]
            for condition in one.conditions(_LETTERS[command])
        )
    ]


def _passes(session: Session, agent_id: UUID, row: str, condition: str) -> bool:
    """As Storage asks it; what fails forbids too."""
    row_of = "jsonb_populate_record(NULL::storage.objects, %(row)s::jsonb)"
    query = f"SELECT ({condition.replace('%', '%%')}) FROM {row_of} AS objects"  # noqa: S608
    try:
        with as_agent(session, agent_id):
            return bool(session.connection().exec_driver_sql(query, {"row": row}).scalar())
    except DBAPIError:
        return False


def _obeyed(session: Session, agent_id: UUID, bucket: str, path: str, access: str) -> bool:
    """What the function says that the policies call."""
    with as_agent(session, agent_id):
        query = text(f"SELECT argosy.can_{Access(access)}(:bucket, :path)")
        return bool(session.scalar(query, {"bucket": bucket, "path": path}))


def _advice(
    session: Session, agent: Agent, bucket: str, path: str, access: str, because: str
) -> str:
    advice = _ADVICE.get(because, because).format(name=agent.name, access=str(access))
    if because != "no grant":
        return advice
    ended = session.scalar(
        text(
            "SELECT max(expires_at) FROM argosy.grants WHERE bucket = :bucket "
            "AND path = ANY (argosy.covering(:path)) AND (agent_id = :agent OR role = :role) "
            "AND access IN (:access, 'write') AND expires_at <= now()"
        ),
        {
            "bucket": bucket,
            "path": path,
            "agent": agent.id,
            "role": agent.role,
            "access": str(access),
        },
    )
    return f"a grant ended at {ended:%Y-%m-%d %H:%M} UTC; {advice}" if ended else advice
