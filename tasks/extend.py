"""`transfer.extend`: a file's time ends later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from celery import shared_task
from sqlalchemy.orm import Session

from argosy.errors import AccessDenied, InvalidRequest, ObjectNotFound
from argosy.reference import FileReference
from argosy.settings import FleetSettings
from models import Access, Agent, State, Transfer
from models.access import decide, sees
from models.derivatives import of_file
from models.retention import lengthen
from tasks.act import Entered, act
from tasks.control import ControlTask
from tasks.describe import end_objects
from tasks.enrich import enriched
from tasks.fleet import fleet
from tasks.kept import require_kept
from tasks.requests import ExtendRequest
from tasks.sharing import file_of

EXTENDED = "file.extended"
"""The event."""


@shared_task(bind=True, base=ControlTask, name="transfer.extend")
def extend(
    self: ControlTask, reference: dict[str, Any], days: float | None = None
) -> FileReference:
    """Have the file that `reference` names stay until `days` from now, for those who may write it.

    ARGOSY_RETENTION_DAYS when not said, ARGOSY_EXTEND_DAYS at most; never shorter than it is
    kept anyway. Grants that end with the file end later too. The result is its reference. Fails
    with object_not_found, also for a file whose time is over already.
    """
    return act(self, ExtendRequest, _extend, reference=reference, days=days)


def _extend(
    session: Session, agent: Agent, request: ExtendRequest, entered: Entered
) -> FileReference:
    ends = _end(fleet().settings, request)
    transfer = _writable(session, agent, request)
    if not entered.again and lengthen(session, transfer, ends, event=EXTENDED):
        session.refresh(transfer)
        _say_so(session, agent, transfer, ends)
    return enriched(session, transfer, request.reference.encoding)


def _end(settings: FleetSettings, request: ExtendRequest) -> datetime:
    days = settings.retention_days if request.days is None else request.days
    most = max(settings.extend_days, settings.retention_days)
    if days > most:
        raise InvalidRequest(
            f"{request.reference.name} can be kept for {most:g} days from now at most: ask for "
            f"fewer than {days:g}, or persist it."
        )
    return datetime.now(UTC) + timedelta(days=days)


def _writable(session: Session, agent: Agent, request: ExtendRequest) -> Transfer:
    """The file, its row held. Raises ObjectNotFound, AccessDenied."""
    file = request.reference
    require_kept(session, agent, [request.place])
    if not sees(session, agent.id, file.bucket, file.path):
        raise ObjectNotFound(
            f"{file.name} is not in {file.bucket}, or agent {agent.name} may not read it."
        )
    transfer = file_of(session, request.place)
    if transfer is None or transfer.state != State.COMPLETED:
        raise ObjectNotFound(f"{file.name} is not in the fleet's books: register it first.")
    decision = decide(session, agent.id, transfer.bucket, transfer.object_name, Access.WRITE)
    if not decision.allowed:
        raise AccessDenied(
            f"{file.name} is not agent {agent.name}'s to keep for longer ({decision.because})."
        )
    return transfer


def _say_so(session: Session, agent: Agent, transfer: Transfer, ends: datetime) -> None:
    """At its objects: at what is derived of it too, as far as the agent may write there."""
    derived = [one.object_name for one in of_file(session, transfer.id) if one.object_name]
    end_objects(session, agent.id, transfer.bucket, [transfer.object_name, *derived], ends)
