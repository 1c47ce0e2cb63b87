"""The end of an upload: the object is what was sent, or nothing is left of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from argosy.direct.call import UploadCall, last_words
from argosy.direct.wanted import Wanted
from argosy.errors import (
    AccessDenied,
    BucketNotFound,
    ChecksumMismatch,
    Error,
    InvalidReference,
    InvalidRequest,
    ObjectNotFound,
    ObjectTooLarge,
    QuotaExceeded,
    TransferNotFound,
    TypeNotAllowed,
)
from argosy.storage.checksum import Checksums, etag_agrees
from argosy.storage.s3 import ObjectStore, StoredPart

log = logging.getLogger(__name__)


_REFUSED = (
    InvalidRequest,
    InvalidReference,
    AccessDenied,
    ObjectNotFound,
    ChecksumMismatch,
    BucketNotFound,
    ObjectTooLarge,
    TypeNotAllowed,
)
"""The fleet's verdicts on a file that it does not enter."""


@dataclass
class Fate:
    """What has become of the object: whether it was sent, and the fleet told of it.

    `told_before` says that an earlier call had told the fleet, which may have entered it.
    """

    sent: bool = False
    told: bool = False
    told_before: bool = False

    def is_unwanted(self, error: BaseException) -> bool:
        """Whether it may be there after this error, and nobody will ever know of it."""
        if not self.told:
            return self.sent
        if isinstance(error, QuotaExceeded):  # said only of a file that was never entered
            return True
        return not self.told_before and isinstance(error, _REFUSED)


def complete(
    store: ObjectStore, wanted: Wanted, upload_id: str, part_md5s: Sequence[str], sums: Checksums
) -> None:
    """Have Storage make the object of its parts. May be repeated.

    Raises UploadNotFound, ChecksumMismatch.
    """
    parts = [StoredPart(number, etag) for number, etag in enumerate(part_md5s, 1)]
    store.complete_multipart(
        wanted.bucket, wanted.path, upload_id, parts, size=sums.size, md5=sums.md5
    )


def verified(
    store: ObjectStore, wanted: Wanted, sums: Checksums, part_md5s: Sequence[str] | None = None
) -> str:
    """Ask Storage what it has, and compare: the object's ETag.

    Raises ObjectNotFound, ChecksumMismatch.
    """
    head = store.head(wanted.bucket, wanted.path)
    agrees = etag_agrees(head.etag, md5=sums.md5, part_md5s=part_md5s)
    if head.size != sums.size or agrees is False:
        raise ChecksumMismatch(
            f"{wanted.name} arrived in Storage with {head.size} bytes and ETag {head.etag}, "
            f"not the {sums.size} bytes that were sent: upload it again."
        )
    return head.etag


def is_unknown(call: UploadCall, identity: UUID) -> bool:
    """Whether the fleet knows no such file: then nobody misses its object.

    A journal that says nothing of it proves nothing: after a power cut its last lines may be
    missing, and a folder may be restored from a copy. False where the fleet does not answer.
    """
    try:
        call.fleet.ask("status", str(identity), deadline=last_words())
    except TransferNotFound:
        return True
    except Error as error:
        _tell_of_rest(identity, error)
    return False


def remove(
    call: UploadCall, wanted: Wanted, upload_id: str | None = None, *, whole: bool = False
) -> None:
    """Leave neither parts nor, if it may be there `whole`, the object: the call has failed.

    As far as Storage lets us: what it does not is logged.
    """
    try:
        store = call.last_store()
        if upload_id:
            store.abort_multipart(wanted.bucket, wanted.path, upload_id)
        if whole:
            store.delete(wanted.bucket, wanted.path)
    except Error as error:
        _tell_of_rest(wanted.id, error)


def _tell_of_rest(identity: UUID, error: Error) -> None:
    log.warning("upload.left_behind", extra={"transfer_id": str(identity), "reason": str(error)})
