"""`transfer.digest`: the checksums of a whole file, computed beside its upload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task

from argosy.errors import Error
from argosy.storage.body import read_range
from argosy.storage.checksum import digest_blocks, sha256_blocks
from argosy.storage.part_hashes import PartHashes
from models import DIGEST, Chunk, Transfer
from tasks.base import FleetTask
from tasks.chunk import enter, take_chunk
from tasks.claims import ChunkClaim, PutBack, holding
from tasks.encoded_upload import encode_upload
from tasks.fleet import fleet
from tasks.follow import follow
from tasks.lease import Lease, LeaseLost

log = structlog.get_logger(__name__)


@shared_task(bind=True, base=FleetTask, name="transfer.digest")
def digest(self: FleetTask, transfer_id: str) -> None:
    """Read a file once, for SHA-256 and, if wanted, MD5; an entry of the ledger like any chunk.

    One that is stored compressed is encoded and sent in the same pass.
    """
    taken = take_chunk(UUID(transfer_id), DIGEST, self.worker, takeover=self.redelivered)
    if taken is None:
        return
    transfer, claimed = taken
    try:
        with holding(ChunkClaim(transfer, claimed)) as lease:
            work = encode_upload if transfer.encoding else _digest
            facts = work(transfer, claimed, lease)
        if facts is None:
            return
        stored = enter(claimed, None, **facts)
    except (PutBack, LeaseLost, Error) as error:
        log.info("digest.not_made", reason=type(error).__name__)
        return
    follow(transfer, stored)


def _digest(transfer: Transfer, claimed: Chunk, lease: Lease) -> dict[str, Any]:
    hashes = PartHashes(transfer.part_size or claimed.length)
    with fleet().spool.source(transfer.path, transfer.fingerprint) as source:
        blocks = hashes.through(read_range(source.fd, 0, claimed.length))
        sums = _sums(blocks, lease)
    return {**sums, "xxh3": hashes.folded}


def _sums(blocks: Iterator[bytes | memoryview], lease: Lease) -> dict[str, Any]:
    if not fleet().settings.whole_md5:
        return {"sha256": sha256_blocks(blocks, lease.check), "md5": None}
    sums = digest_blocks(blocks, lease.check)
    return {"sha256": sums.sha256, "md5": sums.md5}
