"""`transfer.digest`: the checksums of a whole file, computed beside its upload."""

from __future__ import annotations

from uuid import UUID

import structlog
from celery import shared_task

from argosy.errors import Error
from argosy.storage.checksum import digest_file
from models import DIGEST
from tasks.base import FleetTask
from tasks.chunk import enter, take_chunk
from tasks.claims import ChunkClaim, PutBack, holding
from tasks.fleet import fleet
from tasks.follow import follow
from tasks.lease import LeaseLost

log = structlog.get_logger(__name__)


@shared_task(bind=True, base=FleetTask, name="transfer.digest")
def digest(self: FleetTask, transfer_id: str) -> None:
    """Read a large file once, for SHA-256 and MD5; an entry of the ledger like any chunk."""
    taken = take_chunk(UUID(transfer_id), DIGEST, self.worker, takeover=self.redelivered)
    if taken is None:
        return
    transfer, claimed = taken
    try:
        with (
            holding(ChunkClaim(transfer, claimed)) as lease,
            fleet().spool.source(transfer.path, transfer.fingerprint) as source,
        ):
            sums = digest_file(source.fd, claimed.length, lease.check)
        stored = enter(claimed, None, sha256=sums.sha256, md5=sums.md5)
    except (PutBack, LeaseLost, Error) as error:
        log.info("digest.not_made", reason=type(error).__name__)
        return
    follow(transfer, stored)
