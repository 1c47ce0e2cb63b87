"""Planning: what is to be moved is looked at once, and cut into chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.orm import Session

from argosy.errors import ChecksumMismatch, ObjectTooLarge, TypeNotAllowed
from argosy.storage.checksum import digest_file
from argosy.storage.control import BucketInfo
from argosy.storage.parts import count_parts, part_size_for
from models import Chunk, Kind, State, Transfer
from models.ledger import claim_chunk, lay_out, open_window
from models.transitions import advance
from tasks.claims import StageClaim, holding
from tasks.describe import object_metadata
from tasks.fleet import fleet
from tasks.lease import Lease, LeaseLost
from tasks.messages import send_chunks
from tasks.spool import Partial

log = structlog.get_logger(__name__)

PLANNING = frozenset({State.QUEUED})


@dataclass(frozen=True)
class Plan:
    """How a file will be moved; `facts` are columns of its row."""

    size: int
    part_size: int
    small: bool
    digest: bool
    facts: dict[str, Any]


def plan(transfer: Transfer) -> tuple[Transfer, Chunk] | None:
    """Plan a claimed transfer and set its bytes in motion.

    A small file is one chunk, which is returned, claimed: whoever planned it
    moves it. The chunks of a large one are published, a window of them.
    Raises what ends the transfer, PutBack, LeaseLost.
    """
    with holding(StageClaim(transfer)) as lease:
        if transfer.kind == Kind.UPLOAD:
            found = _plan_upload(transfer, lease)
            upload_id = None if found.small else _begin_upload(transfer)
        else:
            found, upload_id = _plan_download(transfer), None
        try:
            moving, numbers, chunk = fleet().transact(
                lambda session: _start(session, transfer, found, upload_id)
            )
        except LeaseLost:
            if upload_id:
                _abandon(transfer, upload_id)
            raise
    log.info("transfer.planned", size=found.size, parts=moving.part_count, kind=moving.kind)
    send_chunks(transfer.id, numbers)
    return (moving, chunk) if chunk else None


def _plan_upload(transfer: Transfer, lease: Lease) -> Plan:
    settings = fleet().settings
    with fleet().spool.source(transfer.path) as source:
        size = source.fingerprint.size
        _check_limits(transfer, fleet().bucket(transfer.bucket), size)
        facts: dict[str, Any] = {"fingerprint": source.fingerprint.document()}
        if size <= settings.chunk_threshold:
            sums = digest_file(source.fd, size, lease.check)
            facts |= {"sha256": sums.sha256, "md5": sums.md5}
    if transfer.bucket == settings.bucket:
        facts["expires_at"] = datetime.now(UTC) + timedelta(days=settings.retention_days)
    return _cut(size, facts, digest=True)


def _plan_download(transfer: Transfer) -> Plan:
    head = fleet().store_for(transfer.agent_id).head(transfer.bucket, transfer.object_name)
    if head.size != transfer.size:
        raise ChecksumMismatch(
            f"{transfer.name} has {head.size} bytes in Storage, its reference says "
            f"{transfer.size}: ask its owner for a new reference."
        )
    Partial(fleet().spool, transfer.path, str(transfer.id)).create(head.size)
    return _cut(head.size, {"etag": head.etag}, digest=False)


def _cut(size: int, facts: dict[str, Any], *, digest: bool) -> Plan:
    settings = fleet().settings
    if size <= settings.chunk_threshold:
        return Plan(size, size, small=True, digest=False, facts=facts)
    part_size = part_size_for(size, settings.part_size)
    return Plan(size, part_size, small=False, digest=digest, facts=facts)


def _check_limits(transfer: Transfer, bucket: BucketInfo, size: int) -> None:
    if bucket.size_limit is not None and size > bucket.size_limit:
        raise ObjectTooLarge(
            f"{transfer.name} has {size} bytes, bucket {bucket.name} takes {bucket.size_limit}: "
            "raise the bucket's limit or send less."
        )
    allowed = bucket.allowed_types
    if allowed and not any(_matches(transfer.content_type, pattern) for pattern in allowed):
        raise TypeNotAllowed(
            f"{transfer.name} is {transfer.content_type}, bucket {bucket.name} takes "
            f"{', '.join(allowed)}: give the right content_type or use another bucket."
        )


def _matches(content_type: str, pattern: str) -> bool:
    plain = content_type.partition(";")[0].strip().lower()
    return pattern.lower() in ("*/*", plain, f"{plain.partition('/')[0]}/*")


def _begin_upload(transfer: Transfer) -> str:
    return (
        fleet()
        .store_for(transfer.agent_id)
        .create_multipart(
            transfer.bucket,
            transfer.object_name,
            content_type=transfer.content_type,
            metadata=object_metadata(transfer),
        )
    )


def _abandon(transfer: Transfer, upload_id: str) -> None:
    """Somebody else planned it meanwhile: end the upload that was begun for nothing.

    Unless it was us: a commit whose answer got lost looks the same.
    """
    now = fleet().transact(lambda session: session.get_one(Transfer, transfer.id))
    if now.upload_id != upload_id:
        store = fleet().store_for(transfer.agent_id)
        store.abort_multipart(transfer.bucket, transfer.object_name, upload_id)


def _start(
    session: Session, transfer: Transfer, found: Plan, upload_id: str | None
) -> tuple[Transfer, Sequence[int], Chunk | None]:
    """Enter the plan and set it in motion, in one transaction."""
    settings = fleet().settings
    count = count_parts(found.size, found.part_size)
    planned = advance(
        session,
        transfer,
        State.PLANNED,
        epoch=transfer.epoch,
        size=found.size,
        part_size=found.part_size,
        part_count=count,
        chunks_left=count + found.digest,
        upload_id=upload_id,
        **found.facts,
    )
    moving = planned and advance(session, planned, State.MOVING)
    if not moving:
        raise LeaseLost
    lay_out(session, moving.id, found.size, found.part_size, digest=found.digest)
    if not found.small:
        window = settings.window + found.digest
        return moving, open_window(session, moving.id, window, settings.republish_seconds), None
    chunk = claim_chunk(
        session,
        moving.id,
        1,
        lease_seconds=settings.lease_seconds,
        worker=transfer.worker or "",
    )
    return moving, (), chunk
