"""What was made of a file follows it: into its copies, and out of Storage when it goes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, delete, insert, literal, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from argosy.naming import derived_folder
from models.derivative import Derivative, Making
from models.provenance import Provenance
from models.transfer import Transfer

COMPRESSED = "compress"
"""Kind of the derivative that is the file itself, stored in another way."""

_TAKEN = (
    *("agent_id", "kind", "parameters", "content_type", "size", "sha256", "md5"),
    *("width", "height", "detail"),
)
"""Columns that a copy's derivative has from the one it was copied of."""


def derivative_at(session: Session, transfer_id: UUID, path: str) -> Derivative | None:
    """The derivative of a file that lies there."""
    of_it = (Derivative.transfer_id == transfer_id, Derivative.object_name == path)
    return session.scalars(select(Derivative).where(*of_it).limit(1)).one_or_none()


def inherit(session: Session, one: Derivative, heir: Transfer) -> None:
    """Enter a derivative for the copy of its file, once."""
    taken = {name: getattr(one, name) for name in _TAKEN}
    place = {"object_name": object_for(one, heir), "transfer_id": heir.id}
    row = postgresql.insert(Derivative).values(**taken, **place, state=Making.MADE)
    session.execute(row.on_conflict_do_nothing())


def object_for(one: Derivative, heir: Transfer) -> str | None:
    """Where a derivative of the copy lies; None for what has no object."""
    if one.object_name is None:
        return None
    return f"{derived_folder(heir.object_name)}{one.object_name.rpartition('/')[2]}"


def inherit_provenance(session: Session, source_id: UUID, heir: Transfer) -> None:
    """Have the copy know how its derivatives were made."""
    names = ["at", "agent_id", "step", "parameters", "outcome", "source_sha256", "output_sha256"]
    columns = [getattr(Provenance, name) for name in (*names, "code", "detail")]
    made = select(literal(heir.id, Uuid()), *columns).where(
        Provenance.transfer_id == source_id, Provenance.outcome == Making.MADE
    )
    ordered = made.order_by(Provenance.id)
    session.execute(
        insert(Provenance).from_select(["transfer_id", *names, "code", "detail"], ordered)
    )


def forget_all(session: Session, transfer_id: UUID) -> Sequence[str]:
    """Take all that was derived of a file out of the books; returns where it may lie."""
    return _forget(session, Derivative.transfer_id == transfer_id)


def _forget(session: Session, which: ColumnElement[bool]) -> Sequence[str]:
    gone = delete(Derivative).where(which)
    names = session.scalars(
        gone.returning(Derivative.object_name).execution_options(synchronize_session=False)
    )
    return [name for name in names if name]


def forget_files(session: Session, files: Collection[UUID]) -> None:
    """Take all that was derived of these files out of the books: its objects are gone."""
    gone = delete(Derivative).where(Derivative.transfer_id.in_(files))
    session.execute(gone.execution_options(synchronize_session=False))


def forget(session: Session, derivatives: Sequence[UUID]) -> Sequence[str]:
    """Take derivatives out of the books: their objects are gone. Returns where they may lie."""
    return _forget(session, Derivative.id.in_(derivatives))


def give_up(session: Session, transfer_id: UUID) -> None:
    """The copy that these derivatives followed has come to nothing.

    Their rows stay: what arrives late is found by them.
    """
    session.execute(
        update(Derivative)
        .where(Derivative.transfer_id == transfer_id, Derivative.state == Making.MADE)
        .values(state=Making.FAILED, reason="The copy of its file has come to nothing.")
        .execution_options(synchronize_session=False)
    )
