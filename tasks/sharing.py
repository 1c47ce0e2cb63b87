"""Who may be given what, and by whom: the owner of a folder shares what is in it, or an admin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from argosy.errors import AccessDenied, BucketNotFound, InvalidRequest, ObjectNotFound
from argosy.naming import derived_folder, is_derived
from argosy.reference import FileReference
from models import FILES, Access, Agent, Bucket, Role, State, Transfer
from models.access import sees
from models.following import COMPRESSED, derivative_at
from models.grants import MADE, REVOKED, Grantee, find_grantees, grant, granted_on, revoke
from models.transitions import record
from tasks.kept import file_id, what_became_of
from tasks.requests import Place


def share(
    session: Session,
    agent: Agent,
    place: Place,
    names: Sequence[str],
    *,
    request_id: UUID,
    access: Access = Access.READ,
    ends: datetime | None = None,
) -> None:
    """Let others read (or write) an object or a folder.

    A grant on a transfer's file ends with the file, and reaches what is derived of it. It cuts
    short what a message has given only where an end was said that is earlier. Raises AccessDenied
    where the agent may not share it, InvalidRequest where a name is nobody's.
    """
    place = file_behind(session, place)
    grantees = grantees_of(session, agent, place, names)
    transfer = file_of(session, place)
    said, ends = ends, _earlier(ends, transfer.expires_at if transfer else None)
    for grantee in grantees:
        grant(
            session,
            grantee,
            bucket=place.bucket,
            path=place.path,
            access=access,
            granted_by=agent.id,
            expires_at=ends,
            ends_by=said,
            transfer_id=transfer.id if transfer else None,
        )
        detail = {"grantee": grantee.name, "access": access, "ends": str(ends) if ends else None}
        _note(session, MADE, agent, place, request_id, detail)


def unshare(
    session: Session, agent: Agent, place: Place, names: Sequence[str], *, request_id: UUID
) -> None:
    """Take every access to exactly this object or folder from others. Raises as `share` does.

    Of a transfer that came to nothing the grants are gone, and a retry would make them anew:
    there it is noted of all of them.
    """
    place = file_behind(session, place)
    grantees = grantees_of(session, agent, place, names)
    had = revoke(session, grantees, bucket=place.bucket, path=place.path)
    transfer = file_of(session, place)
    failed = transfer is not None and transfer.state in (State.FAILED, State.CANCELLED)
    for name in [one.name for one in grantees] if failed else had:
        _note(session, REVOKED, agent, place, request_id, {"grantee": name})


def require_there(session: Session, agent: Agent, place: Place) -> None:
    """Raise ObjectNotFound for an object that is not there; a folder need not be."""
    is_folder = place.path.endswith("/") or not place.path
    if not is_folder and not sees(session, agent.id, place.bucket, place.path):
        raise ObjectNotFound(
            what_became_of(session, agent, place)
            or f"{place.path} is not in {place.bucket}, or agent {agent.name} may not read it."
        )


def with_grants(session: Session, file: FileReference | Place) -> dict[str, Any]:
    """What was shared, and with whom now."""
    behind = file_behind(session, Place(bucket=file.bucket, path=file.path))
    grants = granted_on(session, bucket=behind.bucket, path=behind.path)
    if isinstance(file, Place):
        return {**file.model_dump(), "grants": list(grants)}
    return file.model_copy(update={"grants": tuple(grants)}).document()


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((end for end in (one, other) if end), default=None)


def file_of(session: Session, place: Place) -> Transfer | None:
    """The file that this object is, or is derived of: an object's name says it."""
    identity = file_id(place)
    transfer = session.get(Transfer, identity) if identity else None
    if transfer is None or transfer.kind not in FILES or transfer.bucket != place.bucket:
        return None
    folder = derived_folder(transfer.object_name) if is_derived(place.path) else None
    of_it = folder is not None and place.path.startswith(folder)
    return transfer if of_it or transfer.object_name == place.path else None


def file_behind(session: Session, place: Place) -> Place:
    """The place of the file, where this object is that file compressed; else the place as it is.

    Whoever is given a thumbnail is not given the picture.
    """
    transfer = file_of(session, place) if is_derived(place.path) else None
    one = derivative_at(session, transfer.id, place.path) if transfer else None
    if transfer is None or one is None or one.kind != COMPRESSED:
        return place
    return Place(bucket=place.bucket, path=transfer.object_name)


def grantees_of(
    session: Session, agent: Agent, place: Place, names: Sequence[str]
) -> list[Grantee]:
    """Whom the names mean, for an agent that may share what is there; raises as `share` does."""
    if session.get(Bucket, place.bucket) is None:
        raise BucketNotFound(f"There is no bucket {place.bucket} in this fleet.")
    _require_own(agent, place)
    grantees, strangers = find_grantees(session, names)
    if strangers:
        raise InvalidRequest(
            f"There is no agent {strangers[0]!r}: share with agents' names, or with role:reader."
        )
    return grantees


def is_own(agent: Agent, place: Place) -> bool:
    """Whether it is in the agent's own folder, and the agent one that writes."""
    return place.path.startswith(f"{agent.id}/") and agent.role != Role.READER


def let_read(
    session: Session,
    agent: Agent,
    place: Place,
    recipient: Agent,
    *,
    request_id: UUID,
    until: datetime,
) -> None:
    """Let the recipient of a message read a file as long as it is kept: its own time, or `until`.

    The caller has seen that the file is the agent's own.
    """
    place = file_behind(session, place)
    transfer = file_of(session, place)
    ends = max(transfer.expires_at, until) if transfer and transfer.expires_at else None
    grant(
        session,
        Grantee(recipient.name, agent_id=recipient.id),
        bucket=place.bucket,
        path=place.path,
        access=Access.READ,
        granted_by=agent.id,
        expires_at=ends,
        transfer_id=transfer.id if transfer else None,
    )
    detail = {
        "grantee": recipient.name,
        "access": Access.READ,
        "ends": str(ends) if ends else None,
    }
    _note(session, MADE, agent, place, request_id, detail)


def _require_own(agent: Agent, place: Place) -> None:
    if not is_own(agent, place) and agent.role != Role.ADMIN:
        raise AccessDenied(
            f"{place.path} in {place.bucket} is not agent {agent.name}'s to share: "
            "its owner or an admin may."
        )


def _note(
    session: Session,
    name: str,
    agent: Agent,
    place: Place,
    request_id: UUID,
    detail: dict[str, str | None],
) -> None:
    record(
        session,
        name,
        agent_id=agent.id,
        object=f"{place.bucket}/{place.path}",
        request_id=str(request_id),
        detail=detail,
    )
