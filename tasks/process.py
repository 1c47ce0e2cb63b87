"""What is done with a stored file for those who wait for it, before they get its reference."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from celery.exceptions import Ignore
from sqlalchemy.orm import Session

from argosy.errors import Error, ObjectNotFound
from argosy.reference import FileReference
from models import Continuation, Transfer
from models.access import sees
from tasks.base import OwedTask
from tasks.claims import PutBack
from tasks.ended import Ended
from tasks.enrich import enriched
from tasks.fleet import fleet
from tasks.lease import LeaseLost
from tasks.makers import MAKERS
from tasks.making import make
from tasks.steps import AutoStep, CompressStep, MakingStep, called_for, inspecting, steps_in


def after_steps(task: OwedTask, ended: Ended, caller: Continuation | None = None) -> Ended:
    """The outcome of a transfer for the caller with this task's id, its steps done.

    A `caller` that is known need not be asked for: what it wants never changes. Raises Ignore
    while others are at the steps, and the error of a step that is required.
    """
    if not isinstance(ended, FileReference) or (caller and not caller.steps):
        return ended
    continuation, transfer = fleet().transact(lambda session: _look(session, UUID(task.request.id)))
    if not continuation.steps:
        return ended
    try:
        return process(task, continuation, transfer)
    except (PutBack, LeaseLost) as reason:
        raise Ignore(type(reason).__name__) from None


def _look(session: Session, task_id: UUID) -> tuple[Continuation, Transfer]:
    continuation = session.get_one(Continuation, task_id)
    return continuation, session.get_one(Transfer, continuation.transfer_id)


def process(task: OwedTask, continuation: Continuation, transfer: Transfer) -> FileReference:
    """Do the steps that a caller waits for, one after the other.

    Raises the error of a step that is required, PutBack, LeaseLost.
    """
    agent_id = continuation.agent_id or transfer.agent_id
    processing = _Processing(
        transfer, agent_id, continuation.task_id, task.worker, takeover=task.redelivered
    )
    encoding = continuation.encoding
    for step in steps_in(continuation.steps):
        encoding = processing.do(step) or encoding
    return fleet().transact(lambda session: _told(session, transfer, agent_id, encoding))


def _told(
    session: Session, transfer: Transfer, agent_id: UUID, encoding: str | None
) -> FileReference:
    """The reference, for an agent that may still read the file. Raises ObjectNotFound."""
    if not sees(session, agent_id, transfer.bucket, transfer.object_name):
        raise ObjectNotFound(f"{transfer.name} is gone, or is not the agent's to read any more.")
    return enriched(session, transfer, encoding)


@dataclass(frozen=True)
class _Processing:
    transfer: Transfer
    agent_id: UUID
    task_id: UUID
    worker: str
    takeover: bool

    def do(self, step: MakingStep | AutoStep) -> str | None:
        """Do a step, or what the file's type calls for; how the file is stored then, if anew."""
        if isinstance(step, AutoStep):
            return self._do_all()
        try:
            self._make(step)
        except Error:
            if step.required:
                raise
            return None
        return step.encoding if isinstance(step, CompressStep) else None

    def _do_all(self) -> str | None:
        encoding = None
        for step in called_for(fleet().settings, self._content_type()):
            encoding = self.do(step) or encoding
        return encoding

    def _content_type(self) -> str:
        """By the bytes; as it was declared, where they could not be looked at."""
        self.do(inspecting(fleet().settings, required=False))
        known = fleet().transact(lambda session: enriched(session, self.transfer, None))
        return known.facts.content_type if known.facts else self.transfer.content_type

    def _make(self, step: MakingStep) -> None:
        maker = MAKERS[step.step]
        make(
            self.transfer,
            self.agent_id,
            step,
            maker,
            task_id=self.task_id,
            worker=self.worker,
            takeover=self.takeover,
        )
