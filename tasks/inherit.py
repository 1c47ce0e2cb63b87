"""Derivatives follow their file into its copy: their objects, their rows, how they were made."""

from __future__ import annotations

from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from argosy.errors import ChecksumMismatch, Error, InternalError, ObjectNotFound, UploadNotFound
from argosy.reference import FileReference
from argosy.storage.checksum import etag_agrees
from argosy.storage.copying import Place, Source, copy_object
from argosy.storage.s3 import ObjectStore
from models import Derivative, Making, Transfer, following, provenance
from models.access import sees
from models.derivatives import of_file
from tasks.claims import require_claim
from tasks.clean import abort_uploads
from tasks.enrich import enriched
from tasks.fleet import fleet
from tasks.lease import Lease

log = structlog.get_logger(__name__)


def inherit(transfer: Transfer, lease: Lease) -> None:
    """Copy what was made of the original. May be repeated.

    What the agent may not read, or what is not there as the books say, is left out: the
    file itself is whole. Raises LeaseLost, and what is worth another attempt.
    """
    _leave_out_the_gone(transfer, lease)
    for one in fleet().transact(lambda session: _enter(session, transfer)):
        lease.check()
        try:
            _copy(transfer, one, lease)
        except UploadNotFound as error:  # a worker that is too late has ended it: begin anew
            raise InternalError(error.message) from error
        except Error as error:
            if error.retryable:
                raise
            log.warning("derivative.left_out", kind=one.kind, code=error.code)
            _leave_out(transfer, one)


def _enter(session: Session, transfer: Transfer) -> list[Derivative]:
    """Enter the rows before their objects come: a clean-up finds those by these.

    Returns what is to be copied, as it is in the books of the original.
    """
    require_claim(session, transfer)
    found = _followers(session, transfer)
    for one in found:
        following.inherit(session, one, transfer)
    return [one for one in found if one.object_name]


def _leave_out_the_gone(transfer: Transfer, lease: Lease) -> None:
    """What an earlier try has entered, and what is not there to be copied any more.

    Objects go first: who dies in between leaves the rows by which the next one finds the rest.
    """
    store = fleet().store_for(transfer.agent_id)
    gone = fleet().transact(lambda session: _gone(session, transfer))
    for path in gone.values():
        lease.check()  # whoever has the transfer by then may have copied it
        store.delete(transfer.bucket, path)
    if gone:
        fleet().transact(lambda session: _forget(session, transfer, list(gone)))


def _forget(session: Session, transfer: Transfer, gone: list[UUID]) -> None:
    require_claim(session, transfer)
    following.forget(session, gone)


def _gone(session: Session, transfer: Transfer) -> dict[UUID, str]:
    """Paths by the ids of their rows. Raises LeaseLost."""
    require_claim(session, transfer)
    there = {following.object_for(one, transfer) for one in _followers(session, transfer)}
    return {
        one.id: one.object_name
        for one in of_file(session, transfer.id)
        if one.object_name and one.object_name not in there
    }


def _followers(session: Session, transfer: Transfer) -> list[Derivative]:
    origin = transfer.copied_from or {}
    if not origin.get("id"):
        return []
    made = (one for one in of_file(session, UUID(origin["id"])) if one.state == Making.MADE)
    return [one for one in made if one.object_name is None or _follows(session, transfer, one)]


def _follows(session: Session, transfer: Transfer, one: Derivative) -> bool:
    """Not what is copied as the file itself, nor what the agent may not read."""
    origin, path = transfer.copied_from or {}, one.object_name or ""
    return path != origin["path"] and sees(session, transfer.agent_id, origin["bucket"], path)


def _places(transfer: Transfer, one: Derivative) -> tuple[Place, Place]:
    """From where, and to where."""
    here = ((transfer.copied_from or {})["bucket"], one.object_name or "")
    return here, (transfer.bucket, following.object_for(one, transfer) or "")


def _copy(transfer: Transfer, one: Derivative, lease: Lease) -> None:
    settings, store = fleet().settings, fleet().store_for(transfer.agent_id)
    here, there = _places(transfer, one)
    head = store.head(*here)
    if _is_copied(store, there, one):
        return
    if head.size > settings.copy_threshold:
        abort_uploads(store, *there)
    copy_object(
        store,
        Source.of_head(here, head),
        there,
        content_type=head.content_type,
        metadata=_described(transfer, head.metadata),
        largest=settings.copy_threshold,
        part_size=settings.copy_part_size,
        check=lease.check,
    )
    _verify(store, there, one)


def _described(transfer: Transfer, said: dict[str, str]) -> dict[str, str]:
    """What is said of the original's derivative, but for whose it is and when it ends."""
    kept = {name: value for name, value in said.items() if name != "expires-at"}
    ends = {"expires-at": transfer.expires_at.isoformat()} if transfer.expires_at else {}
    return kept | {"owner": str(transfer.agent_id), "transfer": str(transfer.id)} | ends


def _is_copied(store: ObjectStore, there: Place, one: Derivative) -> bool:
    """Whether an earlier try has copied it: only where the ETag says that these are its bytes."""
    try:
        found = store.head(*there)
    except ObjectNotFound:
        return False
    return found.size == one.size and etag_agrees(found.etag, md5=one.md5) is True


def _verify(store: ObjectStore, there: Place, one: Derivative) -> None:
    found = store.head(*there)
    if found.size != one.size or etag_agrees(found.etag, md5=one.md5) is False:
        raise ChecksumMismatch(f"{there[1]} is not the {one.kind} that the books know.")


def _leave_out(transfer: Transfer, one: Derivative) -> None:
    store = fleet().store_for(transfer.agent_id)
    _, there = _places(transfer, one)
    abort_uploads(store, *there)
    store.delete(*there)

    def work(session: Session) -> None:
        entered = following.derivative_at(session, transfer.id, there[1])
        if entered is not None:
            following.forget(session, [entered.id])

    fleet().transact(work)


def copied(session: Session, transfer: Transfer) -> FileReference:
    """The copy's reference, with all that came with it.

    What was learnt of the original is in the books; of one that they do not know, its
    reference says it.
    """
    reference = enriched(session, transfer, None)
    said = FileReference.parse(transfer.reference or {})
    if (transfer.copied_from or {}).get("id"):
        return reference
    return reference.model_copy(update={"facts": said.facts})


def note_copy(session: Session, transfer: Transfer) -> None:
    """Have the copy's provenance begin with its original's."""
    origin = transfer.copied_from or {}
    if origin.get("id"):
        following.inherit_provenance(session, UUID(origin["id"]), transfer)
    provenance.note(
        session,
        transfer.id,
        step="copy",
        parameters={"bucket": origin["bucket"], "path": origin["path"]},
        source_sha256=transfer.sha256,
        output_sha256=transfer.sha256,
        agent_id=transfer.agent_id,
    )
