"""`transfer.pin`: a message that is on its way keeps the files that it names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from celery import shared_task
from sqlalchemy import select
from sqlalchemy.orm import Session

from argosy.errors import InvalidRequest, ObjectNotFound
from argosy.naming import is_derived
from models import Agent, pins
from models.access import first_unseen
from models.transitions import record
from tasks.act import Entered, act
from tasks.control import ControlTask
from tasks.fleet import fleet
from tasks.kept import require_kept
from tasks.requests import PinRequest, Place
from tasks.sharing import file_of, is_own, let_read


@shared_task(bind=True, base=ControlTask, name="transfer.pin")
def pin(
    self: ControlTask, message: str, files: list[dict[str, Any]], to: str | None = None
) -> dict[str, Any]:
    """Keep `files` from the retention sweep until `transfer.unpin`, ARGOSY_PIN_DAYS at most.

    `message` is the message's UUID, `files` are references or places
    (`{"bucket": ..., "path": ...}`), 1,000 at most: all are pinned or none. `to` names
    the agent that gets the message: it may unpin, and read what is the sender's own.
    Fails with object_not_found for a file that the sender may not read, or whose time is over.
    """
    return act(self, PinRequest, _pin, message=message, files=files, to=to)


def _pin(session: Session, agent: Agent, request: PinRequest, entered: Entered) -> dict[str, Any]:
    if not entered.again:  # a message that came twice must not keep what was let go since
        recipient = _recipient(session, request.to)
        require_kept(session, agent, request.places)
        _require_seen(session, agent, request.places)
        kept = [_kept(session, place) for place in request.places]
        pins.pin(
            session,
            request.message,
            [(place.bucket, place.path) for place in kept],
            agent_id=agent.id,
            recipient_id=recipient.id if recipient else None,
        )
        if recipient:
            _let_read(session, agent, recipient, request.places, entered.id)
        _note(session, agent, request, entered.id)
    return {"message": str(request.message), "files": len(request.places)}


def _recipient(session: Session, name: str | None) -> Agent | None:
    if name is None:
        return None
    found = session.scalars(select(Agent).where(Agent.name == name)).one_or_none()
    if found is None:
        raise InvalidRequest(f"There is no agent {name!r}: send messages to agents' names.")
    return found


def _require_seen(session: Session, agent: Agent, places: Sequence[Place]) -> None:
    unseen = first_unseen(session, agent.id, [(place.bucket, place.path) for place in places])
    if unseen:
        bucket, path = unseen
        raise ObjectNotFound(
            f"{path} is not in {bucket}, or agent {agent.name} may not read it: nothing is pinned."
        )


def _kept(session: Session, place: Place) -> Place:
    """What was derived of a file is there as long as the file is."""
    transfer = file_of(session, place) if is_derived(place.path) else None
    return Place(bucket=place.bucket, path=transfer.object_name) if transfer else place


def _let_read(
    session: Session,
    agent: Agent,
    recipient: Agent,
    places: Sequence[Place],
    request_id: UUID,
) -> None:
    """For as long as the pin may keep the file, also beyond the file's own time."""
    ends = datetime.now(UTC) + timedelta(days=fleet().settings.pin_days)
    for place in places:
        if is_own(agent, place) and recipient.id != agent.id:
            let_read(session, agent, place, recipient, request_id=request_id, until=ends)


def _note(session: Session, agent: Agent, request: PinRequest, request_id: UUID) -> None:
    detail = {
        "message": str(request.message),
        "to": request.to,
        "files": len(request.places),
    }
    record(session, "pin.made", agent_id=agent.id, request_id=str(request_id), detail=detail)
