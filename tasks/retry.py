"""`transfer.retry`: what failed or was cancelled is done over again, as a transfer of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from argosy.errors import InvalidState
from argosy.naming import object_name
from argosy.reference import FileReference
from models import FILES, Act, Agent, Kind, Priority, State, Transfer
from models.continuations import add, hand_over
from models.grants import asked_with, find_grantees
from models.transitions import record
from models.turns import HANDICAPS
from tasks import copying
from tasks.accept import may_upload
from tasks.begin import begin
from tasks.control import ControlRequest, ControlTask, own
from tasks.ended import Ended
from tasks.fleet import fleet
from tasks.requests import CopyRequest, Place
from tasks.sender import Sender, asked, require_agent
from tasks.serve import serve
from tasks.sharing import share
from tasks.used import used_otherwise

log = structlog.get_logger(__name__)

ENDS = (State.FAILED, State.CANCELLED)

_ASKED = ("kind", "agent_id", "priority", "bucket", "name", "content_type", "user_metadata", "path")
"""Columns that every request has."""
_OF_A_DOWNLOAD = ("object_name", "size", "sha256", "reference")


@shared_task(bind=True, base=ControlTask, name="transfer.retry")
def retry(self: ControlTask, transfer: str) -> Ended:
    """Do a failed or cancelled transfer over again; the result is that of the new one.

    The new transfer has this task's id. Whoever waited for the old one gets the new outcome,
    under the id it waits for, and what was chained goes on; the old row stays as it ended.
    Raises TransferNotFound; InvalidState for one that did not fail, or is being retried.
    """

    def entered(session: Session, sender: Sender, request: ControlRequest) -> Transfer:
        return _enter(session, sender, request, asked(self, request))

    anew = serve(self, ControlRequest, entered, transfer=transfer)
    structlog.contextvars.bind_contextvars(transfer_id=str(anew.id))
    who = str(self.request.acting_for)
    log.info("transfer.retried", agent_id=who, retry_of=str(anew.retry_of))
    return begin(self, anew)


def _enter(session: Session, sender: Sender, request: ControlRequest, what: str) -> Transfer:
    """The new transfer, made or found. The old one's lock has two retries wait for each other."""
    agent = require_agent(session, sender)
    old = own(session, agent, request.transfer, to_change=True)
    found = session.scalars(select(Transfer).where(Transfer.retry_of == old.id)).one_or_none()
    if found is None:
        found = _begin(session, agent, old, sender.task_id, what)
    elif found.id != sender.task_id:
        raise InvalidState(
            f"{old.name} is done over again as {found.id}, which is {found.state}: look at that "
            "one.",
            str(old.id),
        )
    _owe(session, sender, found)
    return found


def _require_one_file(old: Transfer) -> None:
    if old.kind == Kind.BATCH:
        raise InvalidState(
            f"{old.name} were many files: send those again that have no transfer of their own.",
            str(old.id),
        )


def _begin(session: Session, agent: Agent, old: Transfer, task_id: UUID, what: str) -> Transfer:
    if old.state not in ENDS:
        raise InvalidState(
            f"{old.name} is {old.state}: only what failed or was cancelled can be done over again.",
            str(old.id),
        )
    _require_one_file(old)
    anew = _add(session, old, task_id, what)
    hand_over(session, old.id, anew.id, _again())
    record(session, "transfer.retried", old, detail={"by": agent.name, "as": str(anew.id)})
    detail = {"kind": anew.kind, "retry_of": str(old.id)}
    record(session, "transfer.queued", anew, to_state=anew.state, detail=detail)
    return anew


def _add(session: Session, old: Transfer, task_id: UUID, what: str) -> Transfer:
    if session.get(Act, task_id):
        raise used_otherwise()
    request = _copy_request(old) if old.kind == Kind.COPY else None
    row = {
        **{name: getattr(old, name) for name in _ASKED},
        **_columns(old, task_id, request),
        "id": task_id,
        "request_sha256": what,
        "retry_of": old.id,
        "republish_at": func.now() + timedelta(seconds=_again()),
        "turn_at": func.now() + HANDICAPS[Priority(old.priority)],
    }
    added = insert(Transfer).values(row).on_conflict_do_nothing().returning(Transfer)
    anew = session.scalars(added).one_or_none()
    if anew is None:
        raise used_otherwise()
    if old.kind in FILES:
        _admit(session, old, anew, request)
    return anew


def _columns(old: Transfer, task_id: UUID, request: CopyRequest | None) -> dict[str, Any]:
    """What was asked, of the request's kind; where the file goes is the new transfer's own."""
    if request is not None:
        return copying.columns(request, old.agent_id, task_id)
    if old.kind == Kind.UPLOAD:
        place = object_name(old.agent_id, task_id, old.name)
        return {"object_name": place, "compress": old.compress}
    return {name: getattr(old, name) for name in _OF_A_DOWNLOAD}


def _copy_request(old: Transfer) -> CopyRequest:
    """As it was asked: the file to copy may have been replaced since, and is looked up anew."""
    reference = FileReference.parse(old.reference or {})
    return CopyRequest(reference=reference, bucket=old.bucket, name=old.name)


def _admit(session: Session, old: Transfer, anew: Transfer, request: CopyRequest | None) -> None:
    """See that its agent may still have it done, and share what will be there with the same."""
    owner = session.get_one(Agent, old.agent_id)
    if request is not None:
        copying.look_up(session, owner, anew, request)
    may_upload(session, owner, anew.name, anew.bucket, anew.object_name)
    place = Place(bucket=anew.bucket, path=anew.object_name)
    share(session, owner, place, _shared_with(session, old), request_id=anew.id)


def _shared_with(session: Session, old: Transfer) -> Sequence[str]:
    """Whom the request named, as far as they are still there."""
    there, _ = find_grantees(session, asked_with(session, old))
    return [grantee.name for grantee in there]


def _owe(session: Session, sender: Sender, transfer: Transfer) -> None:
    """The sender waits for it, and acts for itself: an admin need not be the transfer's agent."""
    who = sender.agent_id
    if not add(session, sender.task_id, transfer.id, sender.caller, _again(), agent_id=who):
        raise used_otherwise()


def _again() -> float:
    return fleet().settings.republish_seconds
