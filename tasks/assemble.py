"""The end of a transfer: parts become an object, ranges become a file, both verified."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from argosy.errors import ChecksumMismatch, InternalError, ObjectNotFound, UploadNotFound
from argosy.reference import FileReference
from argosy.storage.checksum import etag_agrees, sha256_file
from argosy.storage.s3 import ObjectStore, StoredPart
from models import DIGEST, ENDED, FILES, Chunk, Continuation, Kind, State, Transfer
from models.continuations import owed
from models.grants import end_with_file, granted_on
from models.ledger import stored_ledger
from models.prefix import digest_of
from models.tombstone import epitaph
from models.transitions import advance, claim, recorded_error
from tasks import batches, copying
from tasks.claims import StageClaim, holding, require_claim
from tasks.clean import abort_uploads
from tasks.compressing import note_compressed
from tasks.describe import describe_object, reference_to
from tasks.ended import Ended
from tasks.fleet import fleet
from tasks.inherit import copied, inherit, note_copy
from tasks.lease import Lease, LeaseLost
from tasks.messages import own_task_id, send_continuation
from tasks.spool import Partial
from tasks.tied import check_tied
from tasks.turns import give_turns

log = structlog.get_logger(__name__)

ASSEMBLY = frozenset({State.ASSEMBLING})
ONCE_EACH = 2
"""The epoch of what was claimed once to be planned and once to be assembled."""


def finish(transfer_id: UUID, worker: str, *, takeover: bool) -> Ended | None:
    """Assemble a transfer whose bytes have all been moved, or tell how it ended.

    Returns the outcome for the caller; None while somebody else is at it. Raises the
    error that the transfer ended with, PutBack, LeaseLost.
    """

    def work(session: Session) -> tuple[Transfer | None, Transfer, Sequence[Chunk]]:
        claimed = take_assembly(session, transfer_id, worker, takeover=takeover)
        ledger = _ledger(session, claimed) if claimed else ()
        return claimed, claimed or session.get_one(Transfer, transfer_id), ledger

    claimed, transfer, ledger = fleet().transact(work)
    return assemble(claimed, ledger) if claimed else outcome(transfer)


def take_assembly(
    session: Session, transfer_id: UUID, worker: str, *, takeover: bool = False
) -> Transfer | None:
    """Claim a transfer to assemble it, or None when there is nothing to do."""
    seconds = fleet().settings.lease_seconds
    return claim(
        session, transfer_id, ASSEMBLY, lease_seconds=seconds, worker=worker, takeover=takeover
    )


def _ledger(session: Session, transfer: Transfer) -> Sequence[Chunk]:
    """Of what is to be an object made of parts; what was sent in one needs none."""
    return stored_ledger(session, transfer.id) if transfer.upload_id else ()


def outcome(transfer: Transfer) -> Ended | None:
    """How a transfer ended, or None if it has not. Raises the error it ended with."""
    if transfer.state not in ENDED:
        return None
    if transfer.state in (State.FAILED, State.CANCELLED):
        raise recorded_error(transfer)
    if transfer.state == State.EXPIRED:
        again = "Upload it again, under another idempotency key where it had one."
        raise ObjectNotFound(f"{epitaph(transfer)} {again}", str(transfer.id))
    if transfer.kind in FILES:
        return FileReference.parse(transfer.reference or {})
    return batches.told(transfer) if transfer.kind == Kind.BATCH else transfer.path


def assemble(transfer: Transfer, ledger: Sequence[Chunk] = ()) -> Ended | None:
    """Assemble a claimed transfer of the parts in its ledger, verify it, and complete it."""
    with holding(StageClaim(transfer)) as lease:
        etag = None
        if transfer.kind in FILES:
            etag = _assemble_object(transfer, ledger, lease)
        elif transfer.kind == Kind.DOWNLOAD:
            _verify_file(transfer, lease)
        done, others = fleet().transact(lambda session: _complete(session, transfer, etag))
    log.info("transfer.completed", size=done.size, kind=done.kind)
    give_turns()
    for continuation in others:
        send_continuation(continuation)
    return outcome(done)


def _complete(
    session: Session, transfer: Transfer, etag: str | None
) -> tuple[Transfer, list[Continuation]]:
    """Enter the transfer as completed; also say who else waits for it.

    A downloaded file gets its name while the row is locked: not once the
    transfer was cancelled.
    """
    require_claim(session, transfer)
    facts: dict[str, Any] = {}
    if transfer.kind == Kind.DOWNLOAD:
        _partial(transfer).publish()
    elif transfer.kind in FILES:
        facts = {"etag": etag, "reference": _describe(session, transfer).document()}
    done = advance(session, transfer, State.COMPLETED, epoch=transfer.epoch, **facts)
    if done is None:
        raise LeaseLost
    if done.kind == Kind.COPY:
        note_copy(session, done)
    elif done.kind == Kind.UPLOAD and done.encoding:
        note_compressed(session, done)
    return done, list(owed(session, transfer.id, but=own_task_id()))


def _assemble_object(transfer: Transfer, ledger: Sequence[Chunk], lease: Lease) -> str:
    """The object as it is to be, and nothing beside it; returns its ETag."""
    store = fleet().store_for(transfer.agent_id)
    etags = [entry.etag or "" for entry in ledger if entry.number != DIGEST]
    if transfer.upload_id:
        check_tied(transfer, ledger)
        _complete_upload(store, transfer, etags)
    etag = _verify_object(store, transfer, etags)
    if transfer.kind == Kind.COPY:
        inherit(transfer, lease)
    if transfer.upload_id or transfer.epoch > ONCE_EACH:
        # Who planned it before, and died, may have begun parts where the next one needed none.
        abort_uploads(store, transfer.bucket, transfer.object_name)
    return etag


def _describe(session: Session, transfer: Transfer) -> FileReference:
    """Say of the object what is known now, and have its grants end with it."""
    if transfer.upload_id:
        describe_object(session, transfer)
    end_with_file(session, transfer.id, transfer.expires_at)
    if transfer.kind == Kind.COPY:
        return copied(session, transfer)
    grants = granted_on(session, bucket=transfer.bucket, path=transfer.object_name)
    return reference_to(transfer, grants)


def _complete_upload(store: ObjectStore, transfer: Transfer, etags: Sequence[str]) -> None:
    """Have Storage make the object. While an earlier try may still be at it, try again later."""
    try:
        store.complete_multipart(
            transfer.bucket,
            transfer.object_name,
            transfer.upload_id or "",
            [StoredPart(number, etag) for number, etag in enumerate(etags, 1)],
            size=transfer.object_size,
            # Of a copy the ETag is looked at later: its original may have been replaced.
            md5=None if transfer.kind == Kind.COPY else transfer.object_md5,
        )
    except UploadNotFound as error:
        raise InternalError(error.message) from error


def _verify_object(store: ObjectStore, transfer: Transfer, etags: Sequence[str]) -> str:
    """Ask Storage what it has, and compare with what was sent."""
    head = store.head(transfer.bucket, transfer.object_name)
    if transfer.kind == Kind.COPY:
        copying.check_one_version(transfer, head.etag)
    agrees = etag_agrees(
        head.etag,
        md5=transfer.object_md5,
        part_md5s=etags if transfer.upload_id else None,
        parts=transfer.part_count if transfer.upload_id else None,
    )
    if head.size != transfer.object_size or agrees is False:
        raise ChecksumMismatch(
            f"{transfer.name} arrived in Storage with {head.size} bytes and ETag {head.etag}, "
            f"not the {transfer.object_size} bytes that were sent: {transfer.kind} it again."
        )
    return head.etag


def _partial(transfer: Transfer) -> Partial:
    return Partial(fleet().spool, transfer.path, str(transfer.id))


def _verify_file(transfer: Transfer, lease: Lease) -> None:
    is_known = _is_hashed(transfer)
    with _partial(transfer).open_whole() as fd:
        size = os.fstat(fd).st_size
        sha256 = transfer.sha256 if is_known else sha256_file(fd, size, lease.check)
        if (size, sha256) != (transfer.size, transfer.sha256):
            raise ChecksumMismatch(
                f"{transfer.name} has SHA-256 {sha256} in Storage, its reference says "
                f"{transfer.sha256}: download it again, and if that says so too, ask its owner for "
                "a new reference."
            )
        os.fsync(fd)


def _is_hashed(transfer: Transfer) -> bool:
    """Whether the file was found to be the promised one while it arrived.

    Another digest proves nothing: where hosts share a spool one may read what it saw before.
    And who planned it a second time may have reserved its space meanwhile, which some file
    systems do by writing to it.
    """
    if transfer.epoch > ONCE_EACH:
        return False
    known = fleet().transact(lambda session: digest_of(session, transfer.id))
    return known == transfer.sha256 and _partial(transfer).is_ours_alone()
