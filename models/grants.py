"""Granting and revoking: rows that the policies read at the next request.

Whoever may read (write) a file may read (write) what is derived of it: a grant on a file is
entered for that folder too, and goes and ends with it. It is told of the file alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from argosy.naming import derived_folder
from models.agent import Agent
from models.event import Event
from models.grant import Grant
from models.transfer import Transfer

ROLE_PREFIX = "role:"
"""`role:reader` names every agent of a role, `agent-b` one agent."""
MADE, REVOKED = "grant.made", "grant.revoked"
"""Events; their detail names the `grantee`."""
_GRANTEE = Event.detail["grantee"].astext
_WHILE_ACCEPTED = timedelta(hours=1)
"""The grants of a request are made in the transaction in which it is accepted."""


@dataclass(frozen=True)
class Grantee:
    """One agent, or every agent of a role; `name` is what people call it."""

    name: str
    agent_id: UUID | None = None
    role: str | None = None


def find_grantees(session: Session, names: Iterable[str]) -> tuple[list[Grantee], list[str]]:
    """Whom the names mean, and the names that mean nobody."""
    wanted = sorted(set(names))
    roles = [name for name in wanted if name.startswith(ROLE_PREFIX)]
    query = select(Agent.name, Agent.id).where(Agent.name.in_(set(wanted) - set(roles)))
    agents = dict(session.execute(query).all())
    found = [Grantee(name, role=name.removeprefix(ROLE_PREFIX)) for name in roles]
    found += [Grantee(name, agent_id=agent_id) for name, agent_id in agents.items()]
    return found, [name for name in wanted if name not in roles and name not in agents]


def grant(
    session: Session,
    grantee: Grantee,
    *,
    bucket: str,
    path: str,
    access: str,
    granted_by: UUID,
    expires_at: datetime | None = None,
    ends_by: datetime | None = None,
    transfer_id: UUID | None = None,
) -> None:
    """Give access, or give what was given another end: a later one, or an earlier `ends_by`.

    It ends no later than `ends_by`, the end that was said, however long its file is kept.
    """
    said = {
        "bucket": bucket,
        "agent_id": grantee.agent_id,
        "role": grantee.role,
        "access": access,
        "granted_by": granted_by,
        "expires_at": expires_at,
        "ends_by": ends_by,
        "transfer_id": transfer_id,
    }
    row = insert(Grant).values([{**said, "path": reached} for reached in _reach(path)])
    names = ("granted_by", "expires_at", "ends_by", "transfer_id")
    renewed: dict[str, ColumnElement[Any]] = {name: row.excluded[name] for name in names}
    # What a message or a longer life of the file has given is not cut to the file's end.
    is_later = Grant.expires_at > row.excluded.expires_at
    kept = func.least(Grant.expires_at, row.excluded.ends_by)
    renewed["expires_at"] = case((is_later, kept), else_=row.excluded.expires_at)
    session.execute(row.on_conflict_do_update(constraint="uq_grants_once", set_=renewed))


def _reach(path: str) -> tuple[str, ...]:
    """The paths that a grant on this one stands for. What is derived stands for itself alone."""
    folder = derived_folder(path)
    return (path, folder) if folder and not path.startswith(folder) else (path,)


def end_with_file(session: Session, transfer_id: UUID, expires_at: datetime | None) -> None:
    """Have the grants on a transfer's file end no later than the file."""
    if expires_at is not None:
        session.execute(_ending(), {"of_transfer": transfer_id, "ends": expires_at})


@cache
def _ending() -> Update:
    ends = bindparam("ends", type_=Grant.expires_at.type)
    return (
        update(Grant)
        .where(Grant.transfer_id == bindparam("of_transfer"))
        .where(or_(Grant.expires_at.is_(None), Grant.expires_at > ends))
        .values(expires_at=ends)
        .execution_options(synchronize_session=False)
    )


def end_later(session: Session, transfer_id: UUID, before: datetime, ends: datetime) -> None:
    """Have the grants that ended with a file, at `before`, end with it later, or as was said.

    Those too that a message made to last beyond it: they are for as long as the file is kept.
    """
    session.execute(
        update(Grant)
        .where(Grant.transfer_id == transfer_id)
        .where(Grant.expires_at >= before, Grant.expires_at < ends)
        .values(expires_at=func.greatest(Grant.expires_at, func.least(ends, Grant.ends_by)))
        .execution_options(synchronize_session=False)
    )


def belong_to(session: Session, transfer_id: UUID, *, bucket: str, path: str) -> None:
    """Make grants that were given before the file had a row the file's own."""
    session.execute(
        update(Grant)
        .where(Grant.bucket == bucket, Grant.path.in_(_reach(path)), Grant.transfer_id.is_(None))
        .values(transfer_id=transfer_id)
        .execution_options(synchronize_session=False)
    )


def revoke(session: Session, grantees: Iterable[Grantee], *, bucket: str, path: str) -> list[str]:
    """Take every access to this path from them; returns the names of those who had any."""
    had = []
    for grantee in grantees:
        gone = session.execute(
            delete(Grant)
            .where(Grant.bucket == bucket, Grant.path.in_(_reach(path)))
            .where(Grant.agent_id.is_not_distinct_from(grantee.agent_id))
            .where(Grant.role.is_not_distinct_from(grantee.role))
            .returning(Grant.id)
        )
        if gone.all():
            had.append(grantee.name)
    return had


def revoke_all(session: Session, *, bucket: str, path: str) -> int:
    """Take every access to this path from everybody; returns how many grants on it went."""
    gone = delete(Grant).where(Grant.bucket == bucket, Grant.path.in_(_reach(path)))
    return list(session.scalars(gone.returning(Grant.path))).count(path)


def readers(session: Session, *, bucket: str, path: str) -> Sequence[str]:
    """Whom this path was ever shared with, also where that has ended: as `revoke_of` has them."""
    query = select(Grant.agent_id, Grant.role).where(Grant.bucket == bucket, Grant.path == path)
    return [_told(row.agent_id, row.role) for row in session.execute(query)]


def revoke_of(
    session: Session, bucket: str, files: Mapping[UUID, str]
) -> Mapping[UUID, Sequence[str]]:
    """Take every access to these files (id and path) and to what is derived of them.

    Returns of each who had any: agents by their ids, roles as `role:reader`.
    """
    of_path = {reached: one for one, path in files.items() for reached in _reach(path)}
    on_paths = and_(Grant.bucket == bucket, Grant.path.in_(of_path))
    had: dict[UUID, list[str]] = {}
    for gone in (on_paths, Grant.transfer_id.in_(files)):
        rows = session.execute(
            delete(Grant)
            .where(gone)
            .returning(Grant.path, Grant.transfer_id, Grant.agent_id, Grant.role)
            .execution_options(synchronize_session=False)
        )
        for row in rows:
            file = of_path.get(row.path) or row.transfer_id
            had.setdefault(file, []).append(_told(row.agent_id, row.role))
    return had


def _told(agent_id: UUID | None, role: str | None) -> str:
    return str(agent_id) if agent_id else f"{ROLE_PREFIX}{role}"


def asked_with(session: Session, transfer: Transfer) -> Sequence[str]:
    """The names with whom a transfer's own request shared its file: grants go when it fails.

    Not those from whom it was taken back since, unless it was given to them anew.
    """
    query = (
        select(_GRANTEE)
        .where(Event.agent_id == transfer.agent_id, Event.name == MADE)
        .where(Event.request_id == str(transfer.id), Event.at >= transfer.created_at)
        .where(Event.at < transfer.created_at + _WHILE_ACCEPTED)
    )
    asked = set(session.scalars(query))
    return sorted(asked & _given_at_last(session, transfer)) if asked else []


def _given_at_last(session: Session, transfer: Transfer) -> set[str]:
    """The names of whom the audit's last word about this file is that it was given to them.

    It reads what was noted since the transfer was asked for, of all files: an admin may have
    taken it back as well as its agent.
    """
    last_word = (
        select(_GRANTEE, Event.name)
        .distinct(_GRANTEE)
        .where(Event.object == f"{transfer.bucket}/{transfer.object_name}")
        .where(Event.name.in_((MADE, REVOKED)), Event.at >= transfer.created_at)
        .order_by(_GRANTEE, Event.id.desc())
    )
    return {grantee for grantee, word in session.execute(last_word) if word == MADE}


def granted_on(session: Session, *, bucket: str, path: str) -> Sequence[str]:
    """The grants that hold on exactly this path: `read:agent-b`, `write:role:worker`."""
    found = session.execute(_granted(), {"on_bucket": bucket, "on_path": path})
    return sorted(f"{access}:{name or f'{ROLE_PREFIX}{role}'}" for access, role, name in found)


@cache
def _granted() -> Select[str, str | None, str]:
    return (
        select(Grant.access, Grant.role, Agent.name)
        .outerjoin(Agent, Agent.id == Grant.agent_id)
        .where(Grant.bucket == bindparam("on_bucket"), Grant.path == bindparam("on_path"))
        .where(or_(Grant.expires_at.is_(None), Grant.expires_at > func.now()))
    )
