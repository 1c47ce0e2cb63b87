"""Batches: files are written down, cut into parcels, and entered as transfers of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, and_, delete, insert, select
from sqlalchemy.orm import Session

from models.chunk import Chunk
from models.event import Event, Outcome
from models.parcel import AS_ASKED, BatchFile, Parcel
from models.transfer import State, Transfer

Cut = Sequence[Sequence[BatchFile]]
"""A batch's files, parcel by parcel."""


def ask(session: Session, batch_id: UUID, paths: Sequence[str], share_with: Sequence[str]) -> None:
    """Write down what a batch is to send. Nobody can tell a file's id before."""
    files = [BatchFile(uuid4(), path).document() for path in paths]
    session.add(
        Parcel(transfer_id=batch_id, number=AS_ASKED, documents=files, share_with=list(share_with))
    )


def parcel(session: Session, batch_id: UUID, number: int) -> Parcel:
    """One parcel."""
    return session.get_one(Parcel, (batch_id, number))


def as_asked(session: Session, batch_id: UUID) -> Parcel | None:
    """All files of a batch; None once it is planned."""
    return session.get(Parcel, (batch_id, AS_ASKED))


def redraw(session: Session, batch: Transfer, number: int) -> tuple[Parcel, Sequence[BatchFile]]:
    """A parcel as it is to be sent, and those of its files that have other ids now, as they were.

    Whoever may list an agent's folder sees the ids of files that have no row yet, and can ask
    for a transfer of its own under one of them. No two workers redraw at once.
    """
    one = session.get_one(Parcel, (batch.id, number), with_for_update=True)
    ids = Transfer.id.in_([file.id for file in one.files])
    taken = set(session.scalars(select(Transfer.id).where(ids, ~_is_file_of(batch))))
    before = [file for file in one.files if file.id in taken]
    if before:
        anew = {str(file.id): str(uuid4()) for file in before}
        one.documents = [{**said, "id": anew.get(said["id"], said["id"])} for said in one.documents]
    return one, before


def _is_file_of(batch: Transfer) -> ColumnElement[bool]:
    same = (Transfer.agent_id == batch.agent_id, Transfer.request_sha256 == batch.request_sha256)
    return and_(*same)


def lay_out_parcels(session: Session, batch_id: UUID, cut: Cut) -> None:
    """Put a batch's files into parcels instead, each with its entry in the ledger."""
    asked = parcel(session, batch_id, AS_ASKED)
    share_with, offset = asked.share_with, 0
    session.execute(delete(Chunk).where(Chunk.transfer_id == batch_id))
    session.delete(asked)
    session.flush()
    for number, files in enumerate(cut, 1):
        length = sum(file.size for file in files)
        key = {"transfer_id": batch_id, "number": number}
        session.add(Chunk(**key, offset=offset, length=length))
        documents = [file.document() for file in files]
        session.add(Parcel(**key, documents=documents, share_with=share_with))
        offset += length


def enter_files(session: Session, batch_id: UUID, rows: Sequence[Mapping[str, Any]]) -> None:
    """Enter files as transfers that have been through it all; `rows` are their columns."""
    session.execute(insert(Transfer), list(rows))
    session.execute(insert(Event), [_event(batch_id, row) for row in rows])


def _event(batch_id: UUID, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the audit keeps of it: there was no state before this one."""
    return {
        "name": f"transfer.{row['state']}",
        "transfer_id": row["id"],
        "agent_id": row["agent_id"],
        "object": f"{row['bucket']}/{row['object_name']}",
        "request_id": str(row["id"]),
        "to_state": row["state"],
        "worker": row["worker"],
        "outcome": Outcome.OK if row["state"] == State.COMPLETED else Outcome.FAILED,
        "reason": row["error_code"],
        "detail": {"kind": row["kind"], "batch": str(batch_id)},
    }


def came_of(session: Session, batch_id: UUID) -> Sequence[tuple[BatchFile, Transfer | None]]:
    """A batch's files in the order in which they were asked for, each with its row, if any."""
    return [(file, row) for _, file, row in _with_rows(session, batch_id)]


def _with_rows(
    session: Session, batch_id: UUID
) -> Sequence[tuple[int, BatchFile, Transfer | None]]:
    """The same, with the number of each one's parcel."""
    query = select(Parcel).where(Parcel.transfer_id == batch_id).order_by(Parcel.number)
    files = [(one.number, file) for one in session.scalars(query) for file in one.files]
    ids = Transfer.id.in_([file.id for _, file in files])
    own = _is_file_of(session.get_one(Transfer, batch_id))
    rows = {row.id: row for row in session.scalars(select(Transfer).where(ids, own))}
    return [(number, file, rows.get(file.id)) for number, file in files]


def begun(session: Session, batch_id: UUID) -> Sequence[BatchFile]:
    """Files of which something may be in Storage, though they have no row.

    The ledger may call a parcel stored that came after the batch had ended: it was not entered.
    """
    taken = select(Chunk.number).where(Chunk.transfer_id == batch_id, Chunk.epoch > 0)
    numbers = set(session.scalars(taken))
    found = _with_rows(session, batch_id)
    return [file for number, file, row in found if row is None and number in numbers]
