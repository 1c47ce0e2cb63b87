"""Copies of stored files: what is copied, whose word about it counts, and that it was one version.

No byte comes here, as a rule: Storage copies by itself, the fleet says what and looks after it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from argosy.errors import ChecksumMismatch, InvalidRequest, ObjectChanged, ObjectNotFound
from argosy.naming import object_name
from argosy.storage.checksum import etag_agrees
from argosy.storage.copying import Source, copy_part
from models import Agent, Chunk, Derivative, Making, State, Transfer
from models.access import sees
from models.following import COMPRESSED, derivative_at
from tasks.describe import object_metadata
from tasks.fleet import fleet
from tasks.kept import require_kept
from tasks.lease import Lease
from tasks.requests import CopyRequest, Place
from tasks.sharing import file_of

NO_FILE = ""
"""The `path` of a row: nothing of the spool is in it."""

_SUMS = ("size", "sha256", "encoding", "stored_size", "stored_sha256")
_OPTIONAL = ("md5", "stored_md5")
"""Sums that a reference may leave out."""


@dataclass(frozen=True)
class Known:
    """What the books say of an object: a file, or what was derived of one."""

    transfer: Transfer
    derivative: Derivative | None

    @property
    def is_the_file(self) -> bool:
        """Whether it is the whole of a file, as it was sent or compressed."""
        return self.derivative is None or self.derivative.kind == COMPRESSED

    def columns(self) -> dict[str, Any]:
        """Of a copy's row."""
        names = (*_SUMS, *_OPTIONAL, "content_type", "user_metadata")
        of_file = {name: getattr(self.transfer, name) for name in names}
        one = self.derivative
        if one is None:
            return of_file
        lies = {"size": one.size, "sha256": one.sha256, "md5": one.md5}
        if one.kind == COMPRESSED:
            encoding = json.loads(one.parameters).get("encoding")
            return of_file | {"encoding": encoding} | {f"stored_{n}": v for n, v in lies.items()}
        nothing = dict.fromkeys(names)
        return nothing | lies | {"content_type": one.content_type or "application/octet-stream"}


def columns(request: CopyRequest, agent_id: UUID, task_id: UUID) -> dict[str, Any]:
    """Columns of a copy's row, as its reference has them."""
    file = request.reference
    stored = file.stored
    return {
        "bucket": request.target_bucket,
        "object_name": object_name(agent_id, task_id, request.real_name),
        "name": request.real_name,
        "content_type": file.content_type,
        "user_metadata": dict(file.metadata) or None,
        "path": NO_FILE,
        "size": file.size,
        "sha256": file.sha256,
        "md5": file.md5,
        "encoding": file.encoding,
        "stored_size": stored.size if stored else None,
        "stored_sha256": stored.sha256 if stored else None,
        "stored_md5": stored.md5 if stored else None,
        "reference": file.document(),
        "copied_from": {"bucket": file.bucket, "path": file.path, "id": None, "etag": None},
    }


def look_up(session: Session, agent: Agent, transfer: Transfer, request: CopyRequest) -> None:
    """Compare the reference with the books, and take their word where they have one.

    A reference may have been through anybody's hands; what has no row is taken as it says.
    Raises ObjectNotFound for what the agent may not read, ChecksumMismatch, InvalidRequest.
    """
    file, place = request.reference, request.source
    if (place.bucket, place.path) == (transfer.bucket, transfer.object_name):
        raise InvalidRequest(f"{file.name} cannot be copied onto itself: use a new task id.")
    require_kept(session, agent, [place])
    if not sees(session, agent.id, place.bucket, place.path):
        raise ObjectNotFound(
            f"{file.name} is not in {file.bucket}, or agent {agent.name} may not read it."
        )
    known = _known(session, place)
    if known is None:
        return
    found = known.columns()
    _compare(transfer, found)
    for name, value in found.items():
        setattr(transfer, name, value)
    origin = str(known.transfer.id) if known.is_the_file else None
    etag = None if known.derivative else known.transfer.etag
    transfer.copied_from = {**(transfer.copied_from or {}), "id": origin, "etag": etag}


def _known(session: Session, place: Place) -> Known | None:
    transfer = file_of(session, place)
    if transfer is None or transfer.state != State.COMPLETED:
        return None
    if transfer.object_name == place.path:
        return Known(transfer, None)
    one = derivative_at(session, transfer.id, place.path)
    return Known(transfer, one) if one and one.state == Making.MADE else None


def _compare(said: Transfer, found: dict[str, Any]) -> None:
    for name in (*_SUMS, *_OPTIONAL):
        mine, theirs = getattr(said, name), found[name]
        if mine != theirs and not (name in _OPTIONAL and None in (mine, theirs)):
            raise ChecksumMismatch(
                f"The reference to {said.name} says {name} {mine}, the fleet's books {theirs}: "
                "ask its owner for a new reference."
            )


def source_of(transfer: Transfer) -> tuple[str, str]:
    """Bucket and path of what is copied."""
    origin = transfer.copied_from or {}
    return origin["bucket"], origin["path"]


def look(transfer: Transfer) -> Source:
    """What is there to be copied, as the agent sees it.

    Raises ObjectNotFound, ChecksumMismatch, ObjectChanged.
    """
    place = source_of(transfer)
    head = fleet().store_for(transfer.agent_id).head(*place)
    known = (transfer.copied_from or {}).get("etag")
    if known and known.lower() != head.etag.lower():
        raise ObjectChanged(
            f"{transfer.name} was replaced after it was uploaded: upload it again, or ask its "
            "owner for a new reference."
        )
    if head.size != transfer.object_size or _differs(head.etag, transfer):
        raise ChecksumMismatch(
            f"{transfer.name} has {head.size} bytes and ETag {head.etag} in Storage, its reference "
            f"says {transfer.object_size} bytes and MD5 {transfer.object_md5}: ask its owner for "
            "a new reference."
        )
    return Source.of_head(place, head)


def _differs(etag: str, transfer: Transfer) -> bool:
    return etag_agrees(etag, md5=transfer.object_md5) is False


def move(transfer: Transfer, claimed: Chunk, lease: Lease) -> str:
    """Have Storage copy the whole file, or one part of it; returns the ETag."""
    store = fleet().store_for(transfer.agent_id)
    target = (transfer.bucket, transfer.object_name)
    if not transfer.upload_id:
        return store.copy(
            source_of(transfer),
            *target,
            content_type=transfer.content_type,
            metadata=object_metadata(transfer),
        )
    etag = (transfer.copied_from or {})["etag"]
    return copy_part(
        store,
        Source(*source_of(transfer), transfer.object_size or 0, etag),
        target,
        transfer.upload_id,
        claimed.number,
        start=claimed.offset,
        length=claimed.length,
        on_bytes=lease.moved,
    )


def check_one_version(transfer: Transfer, etag: str) -> None:
    """Raise ObjectChanged if the original may have been replaced while it was copied.

    Where the copy's ETag is the MD5 of the file, that says enough: the original may even be gone.
    Raises ObjectNotFound for one that is gone where it does not.
    """
    if etag_agrees(etag, md5=transfer.object_md5):
        return
    now = fleet().store_for(transfer.agent_id).head(*source_of(transfer))
    if now.etag != (transfer.copied_from or {}).get("etag"):
        raise ObjectChanged(f"{transfer.name} was replaced while it was copied: copy it again.")
