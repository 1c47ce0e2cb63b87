"""`transfer.delete`: a stored file goes, what was derived of it, and every grant on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from celery import shared_task
from sqlalchemy.orm import Session

from argosy.errors import AccessDenied, Error, ObjectNotFound
from argosy.naming import is_derived
from models import Access, Agent, Derivative, Making, State, Transfer
from models.access import decide, sees
from models.derivatives import of_file
from models.following import derivative_at, forget, forget_all
from models.grants import readers, revoke_all
from models.tombstone import DELETED, told, tombstone
from models.transitions import advance, record
from tasks.act import Entered, act
from tasks.base import RequestTask
from tasks.fleet import fleet
from tasks.kept import what_became_of
from tasks.refusal import refuse
from tasks.requests import DeleteRequest, Place
from tasks.sharing import file_behind, file_of


@dataclass(frozen=True)
class Doomed:
    """What goes: an object, and before it what was derived of it.

    `transfer_id` is the file's, where it is a file. `by_fleet` are those that the agent may
    not write itself, although it may the file: it was given that before what is derived was
    given along.
    """

    name: str
    place: Place
    derived: Sequence[Derivative] = ()
    transfer_id: UUID | None = None
    by_fleet: frozenset[str] = frozenset()


@shared_task(bind=True, base=RequestTask, name="transfer.delete")
def delete(self: RequestTask, reference: dict[str, Any]) -> None:
    """Delete the file that `reference` names, for those who may write there.

    What was made of it goes too; a reference to the compressed copy stands for the file.
    Fails with object_not_found where there is none, or none that the agent may read.
    """
    doomed = act(self, DeleteRequest, _may_delete, reference=reference)
    try:
        _remove(self.request.acting_for, doomed)
        late = fleet().transact(lambda session: _enter(session, self, doomed))
        if late is None:
            raise AccessDenied(
                f"Storage kept {doomed.name}: row-level security does not let it go."
            )
        for path in late:
            fleet().store_as_service().delete(doomed.place.bucket, path)
    except Error as error:  # the sender may try again; a worker must not wait for Storage
        refuse(self, error)
        raise


def _may_delete(session: Session, agent: Agent, request: DeleteRequest, entered: Entered) -> Doomed:
    """Refuse in words what Storage would refuse in silence."""
    file, doomed = request.reference, _doomed(session, agent, request)
    paths = {file.path, doomed.place.path}  # an earlier try may have got half-way
    if not any(sees(session, agent.id, file.bucket, path) for path in paths):
        if entered.again:
            return doomed
        raise ObjectNotFound(
            what_became_of(session, agent, doomed.place)
            or f"{file.name} is not in {file.bucket}, or agent {agent.name} may not read it."
        )
    decision = decide(session, agent.id, file.bucket, doomed.place.path, Access.WRITE)
    if not decision.allowed:
        raise AccessDenied(
            f"{file.name} is not agent {agent.name}'s to delete ({decision.because})."
        )
    return doomed


def _doomed(session: Session, agent: Agent, request: DeleteRequest) -> Doomed:
    place = file_behind(session, request.place)
    transfer = file_of(session, place)
    if transfer is None:
        return Doomed(request.reference.name, place)
    if is_derived(place.path):
        one = derivative_at(session, transfer.id, place.path)
        return Doomed(request.reference.name, place, [one] if one else [])
    derived = of_file(session, transfer.id)
    by_fleet = {one.object_name for one in derived if one.object_name}
    if _may_write(session, agent, place.bucket, place.path):
        by_fleet -= {path for path in by_fleet if _may_write(session, agent, place.bucket, path)}
    else:  # what the agent may not delete itself nobody deletes for it
        by_fleet = set()
    return Doomed(request.reference.name, place, derived, transfer.id, frozenset(by_fleet))


def _may_write(session: Session, agent: Agent, bucket: str, path: str) -> bool:
    return decide(session, agent.id, bucket, path, Access.WRITE).allowed


def _remove(agent_id: UUID, doomed: Doomed) -> None:
    """What was derived goes first: while the file is there, another try finds what is left."""
    store = fleet().store_for(agent_id)
    for one in doomed.derived:
        if one.object_name in doomed.by_fleet:
            fleet().store_as_service().delete(doomed.place.bucket, one.object_name)
        elif one.object_name:
            store.delete(doomed.place.bucket, one.object_name)
    store.delete(doomed.place.bucket, doomed.place.path)


def _enter(session: Session, task: RequestTask, doomed: Doomed) -> Sequence[str] | None:
    """Take out of the books what is gone; None where Storage kept the file itself.

    Returns where lies, or will lie, what was begun to be derived meanwhile.
    """
    agent_id, place = task.request.acting_for, doomed.place
    late = forget(session, [one.id for one in doomed.derived])
    if sees(session, agent_id, place.bucket, place.path):
        return None
    if doomed.transfer_id:
        late = [*late, *forget_all(session, doomed.transfer_id)]
    had = readers(session, bucket=place.bucket, path=place.path)
    for path in filter(None, (one.object_name for one in doomed.derived)):
        revoke_all(session, bucket=place.bucket, path=path)
    record(
        session,
        "file.deleted",
        agent_id=agent_id,
        object=f"{place.bucket}/{place.path}",
        request_id=task.request.id,
        detail={
            "grants": revoke_all(session, bucket=place.bucket, path=place.path),
            "derivatives": len(doomed.derived),
        },
    )
    if doomed.transfer_id:
        _bury(session, agent_id, doomed, had)
    # Of what was not finished the object may have come after it was removed.
    removed = {one.object_name for one in doomed.derived if one.state == Making.MADE}
    return [path for path in late if path not in removed]


def _bury(session: Session, agent_id: UUID, doomed: Doomed, readers: Sequence[str]) -> None:
    """Have the file's row say what became of it: `completed` means that it is there."""
    row = session.get_one(Transfer, doomed.transfer_id)
    if row.state != State.COMPLETED:  # what is on its way ends as it does
        return
    by = session.get_one(Agent, agent_id).name
    gone = [one.size or 0 for one in doomed.derived if one.object_name]
    size = (row.object_size or 0) + sum(gone)
    stone = tombstone(DELETED, by=by, objects=1 + len(gone), size=size, readers=readers)
    advance(session, row, State.EXPIRED, detail=told(stone), ended_at=row.ended_at, tombstone=stone)
