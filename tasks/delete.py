"""`transfer.delete`: a stored file goes, and every grant on it."""

from __future__ import annotations

from typing import Any

from celery import shared_task
from sqlalchemy.orm import Session

from argosy.errors import AccessDenied, Error, ObjectNotFound
from argosy.reference import FileReference
from models import Access, Agent
from models.access import decide, sees
from models.grants import revoke_all
from models.transitions import record
from tasks.act import Entered, act
from tasks.base import RequestTask
from tasks.fleet import fleet
from tasks.refusal import refuse
from tasks.requests import DeleteRequest


@shared_task(bind=True, base=RequestTask, name="transfer.delete")
def delete(self: RequestTask, reference: dict[str, Any]) -> None:
    """Delete the file that `reference` names, for those who may write there.

    Fails with object_not_found where there is none, or none that the agent may read.
    """
    file = act(self, DeleteRequest, _may_delete, reference=reference)
    try:
        fleet().store_for(self.request.acting_for).delete(file.bucket, file.path)
        fleet().transact(lambda session: _enter(session, self, file))
    except Error as error:  # the sender may try again; a worker must not wait for Storage
        refuse(self, error)
        raise


def _may_delete(
    session: Session, agent: Agent, request: DeleteRequest, entered: Entered
) -> FileReference:
    """Refuse in words what Storage would refuse in silence."""
    file = request.reference
    if not sees(session, agent.id, file.bucket, file.path):
        if not entered.again:
            raise ObjectNotFound(
                f"{file.name} is not in {file.bucket}, or agent {agent.name} may not read it."
            )
        return file
    decision = decide(session, agent.id, file.bucket, file.path, Access.WRITE)
    if not decision.allowed:
        raise AccessDenied(
            f"{file.name} is not agent {agent.name}'s to delete ({decision.because})."
        )
    return file


def _enter(session: Session, task: RequestTask, file: FileReference) -> None:
    agent_id = task.request.acting_for
    if sees(session, agent_id, file.bucket, file.path):
        raise AccessDenied(f"Storage kept {file.name}: row-level security does not let it go.")
    record(
        session,
        "file.deleted",
        agent_id=agent_id,
        object=f"{file.bucket}/{file.path}",
        request_id=task.request.id,
        detail={"grants": revoke_all(session, bucket=file.bucket, path=file.path)},
    )
