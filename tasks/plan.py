"""Planning: what is to be moved is looked at once, and cut into chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.orm import Session

from argosy.coding.frames import FRAME_BYTES, count_frames
from argosy.coding.worth import Verdict
from argosy.errors import QuotaExceeded
from argosy.storage.body import read_range
from argosy.storage.checksum import digest_file
from argosy.storage.parts import count_parts, part_size_for
from models import FILES, STORES, Chunk, Kind, State, Transfer
from models.chunk_claims import claim_only
from models.ledger import lay_out
from models.parcels import Cut, lay_out_parcels
from models.transitions import advance
from models.window import open_window
from tasks import batches, copying, pieces
from tasks.claims import StageClaim, holding
from tasks.compressing import judge, note_skipped
from tasks.describe import object_metadata
from tasks.encode import encoded_part_size
from tasks.fleet import fleet
from tasks.lease import Lease, LeaseLost
from tasks.limits import check_limits
from tasks.messages import send_chunks
from tasks.multipart import abandon, begin_upload
from tasks.quota import check_quota
from tasks.reading import content_of
from tasks.spool import Partial
from tasks.steps import compressing
from tasks.window import window_of

log = structlog.get_logger(__name__)

PLANNING = frozenset({State.QUEUED})


@dataclass(frozen=True)
class Plan:
    """How a file will be moved, `size` bytes of it; `facts` are columns of its row."""

    size: int
    part_size: int
    small: bool
    digest: bool
    facts: dict[str, Any]
    not_compressed: str | None = None
    """Why not, where that was asked for."""
    parcels: Cut | None = None
    """Of a batch, the files of each of its chunks."""

    @property
    def part_count(self) -> int:
        """Chunks of the ledger, without the digest."""
        if self.parcels is not None:
            return len(self.parcels)
        return 0 if self.encoded else count_parts(self.size, self.part_size)

    @property
    def encoded(self) -> bool:
        """Whether it is compressed on the way: then its parts are not known yet."""
        return bool(self.facts.get("encoding"))

    @property
    def multipart(self) -> bool:
        """Whether it goes into Storage in parts; what is encoded may be one all the same."""
        return self.size > self.part_size if self.encoded else not self.small


def plan(transfer: Transfer) -> tuple[Transfer, Chunk] | None:
    """Plan a claimed transfer and set its bytes in motion.

    A small file is one chunk, which is returned, claimed: whoever planned it
    moves it. The chunks of a large one are published, a window of them.
    Raises what ends the transfer, PutBack, LeaseLost.
    """
    with holding(StageClaim(transfer)) as lease:
        found = _find_out(transfer, lease)
        upload_id = None
        if transfer.kind in FILES and found.multipart:
            # Looked at before anything is begun for nothing; what counts is the look in `_start`.
            fleet().transact(lambda session: _check_quota(session, transfer, found, entered=False))
            upload_id = begin_upload(transfer, object_metadata(transfer))
        try:
            moving, numbers, chunk = fleet().transact(
                lambda session: _start(session, transfer, found, upload_id)
            )
        except (LeaseLost, QuotaExceeded):
            if upload_id:  # another plan was faster, of this file or of one that took the room
                abandon(transfer, upload_id)
            raise
    log.info("transfer.planned", size=found.size, parts=moving.part_count, kind=moving.kind)
    send_chunks(transfer.id, transfer.lane, numbers)
    return (moving, chunk) if chunk else None


def _find_out(transfer: Transfer, lease: Lease) -> Plan:
    if transfer.kind == Kind.UPLOAD:
        return _plan_upload(transfer, lease)
    if transfer.kind == Kind.BATCH:
        return _plan_batch(transfer, lease)
    return _plan_copy(transfer) if transfer.kind == Kind.COPY else _plan_download(transfer)


def _plan_batch(transfer: Transfer, lease: Lease) -> Plan:
    files = batches.look(transfer, lease)
    most = min(batches.PARCEL_BYTES, pieces.at_its_rate(transfer))
    size = sum(file.size for file in files)
    facts = {"stored_size": size}  # less by each parcel, whose files have rows of their own then
    return Plan(
        size, most, small=False, digest=False, facts=facts, parcels=batches.cut(files, most)
    )


def _plan_upload(transfer: Transfer, lease: Lease) -> Plan:
    settings = fleet().settings
    with fleet().spool.source(transfer.path) as source:
        size = source.fingerprint.size
        _check_limits(transfer, size)
        facts: dict[str, Any] = {"fingerprint": source.fingerprint.document()}
        verdict, at_once = _judge(transfer, source.fd, size), pieces.at_once(transfer)
        if verdict.worth:
            step = compressing(settings, "gzip" if transfer.compress == "gzip" else "zstd")
            facts |= {"encoding": step.encoding, "encoding_level": step.level}
        elif size <= at_once:
            sums = digest_file(source.fd, size, lease.check)
            facts |= {"sha256": sums.sha256, "md5": sums.md5}
    if transfer.bucket == settings.bucket:
        facts["expires_at"] = _end_of_time()
    if verdict.worth:
        part_size = encoded_part_size(size)
        return Plan(size, part_size, small=False, digest=True, facts=facts)
    cut = _cut(transfer, size, at_once, facts, digest=True)
    return replace(cut, not_compressed=verdict.reason if transfer.compress else None)


def _judge(transfer: Transfer, fd: int, size: int) -> Verdict:
    """Whether to compress a file on its way, as its agent has asked."""
    if transfer.compress is None or not size:
        return Verdict(False, "The file is empty.")
    if transfer.compress != "auto":
        return Verdict(True, f"Its agent asked for {transfer.compress}.")

    def read(start: int, length: int) -> bytes:
        return b"".join(read_range(fd, start, length))

    return judge(transfer, read, size, compressing(fleet().settings))


def _plan_copy(transfer: Transfer) -> Plan:
    """A row has the sums of a copy from the beginning; what is moved is the object as it lies."""
    settings = fleet().settings
    source = copying.look(transfer)
    _check_limits(transfer, source.size)
    origin = {**(transfer.copied_from or {}), "etag": source.etag}
    facts: dict[str, Any] = {"size": transfer.size, "copied_from": origin}
    if transfer.bucket == settings.bucket:
        facts["expires_at"] = _end_of_time()
    if source.size <= settings.copy_threshold:
        return Plan(source.size, source.size, small=True, digest=False, facts=facts)
    part_size = part_size_for(source.size, settings.copy_part_size)
    return Plan(source.size, part_size, small=False, digest=False, facts=facts)


def _plan_download(transfer: Transfer) -> Plan:
    content = content_of(transfer)
    head, size = content.head(), content.reference.size
    content.check_expansion()
    content.check_table()  # before its size is reserved on the disk
    Partial(fleet().spool, transfer.path, str(transfer.id)).create(size)
    cut = _cut(transfer, size, pieces.at_once(transfer), {"etag": head.etag}, digest=False)
    if cut.small or content.reference.encoding is None:
        return cut
    return replace(cut, part_size=count_frames(cut.part_size) * FRAME_BYTES)


def _end_of_time() -> datetime:
    return datetime.now(UTC) + timedelta(days=fleet().settings.retention_days)


def _cut(
    transfer: Transfer, size: int, at_once: int, facts: dict[str, Any], *, digest: bool
) -> Plan:
    if size <= at_once:
        return Plan(size, size, small=True, digest=False, facts=facts)
    part_size = pieces.part_size_of(transfer, size)
    return Plan(size, part_size, small=False, digest=digest, facts=facts)


def _check_limits(transfer: Transfer, size: int) -> None:
    check_limits(transfer.name, transfer.content_type, fleet().bucket(transfer.bucket), size)


def _check_quota(session: Session, transfer: Transfer, found: Plan, *, entered: bool) -> None:
    check_quota(
        session,
        transfer.agent_id,
        transfer.name,
        found.size,
        stores=transfer.kind in STORES,
        entered=entered,
    )


def _start(
    session: Session, transfer: Transfer, found: Plan, upload_id: str | None
) -> tuple[Transfer, Sequence[int], Chunk | None]:
    """Enter the plan and set it in motion, in one transaction."""
    settings, count = fleet().settings, found.part_count
    moving = advance(
        session,
        transfer,
        State.PLANNED,
        State.MOVING,
        epoch=transfer.epoch,
        part_size=found.part_size,
        part_count=count,
        chunks_left=count + found.digest,
        upload_id=upload_id,
        **{"size": found.size, **found.facts},
    )
    if moving is None:
        raise LeaseLost
    _check_quota(session, transfer, found, entered=True)
    if found.not_compressed:
        note_skipped(session, moving, found.not_compressed)
    seconds = settings.lease_seconds
    if found.small:
        worker = transfer.worker or ""
        chunk = claim_only(session, moving, found.size, lease_seconds=seconds, worker=worker)
        return moving, (), chunk
    _lay_out(session, moving, found)
    window = window_of(session, transfer.agent_id) + found.digest
    return moving, open_window(session, moving.id, window, settings.republish_seconds), None


def _lay_out(session: Session, transfer: Transfer, found: Plan) -> None:
    if found.parcels is not None:
        lay_out_parcels(session, transfer.id, found.parcels)
        return
    parts = not found.encoded
    size, part_size = found.size, found.part_size
    lay_out(session, transfer.id, size, part_size, digest=found.digest, parts=parts)
