"""Every failure that Argosy reports, with what a caller may do about it.

    Error
    ├── RequestError                 the request is wrong: change it, do not repeat it
    │   ├── InvalidRequest           invalid_request
    │   ├── IdempotencyConflict      idempotency_conflict
    │   ├── InvalidReference         invalid_reference
    │   ├── InvalidMessage           invalid_message
    │   ├── InvalidState             invalid_state
    │   └── TransferNotFound         transfer_not_found
    ├── SourceError                  the file to send
    │   ├── SourceOutsideSpool       source_outside_spool
    │   ├── SourceMissing            source_missing
    │   ├── SourceNotAFile           source_not_a_file
    │   ├── SourceUnreadable         source_unreadable
    │   └── SourceChanged            source_changed
    ├── DestinationError             the file to write
    │   ├── DestinationOutsideSpool  destination_outside_spool
    │   ├── DestinationExists        destination_exists
    │   ├── DestinationUnwritable    destination_unwritable
    │   └── DiskFull                 disk_full
    ├── AccessError                  who asks
    │   ├── NotSignedIn              not_signed_in
    │   ├── InvalidToken             invalid_token
    │   └── AccessDenied             access_denied
    ├── StorageError                 what Supabase Storage answered
    │   ├── BucketNotFound           bucket_not_found
    │   ├── ObjectNotFound           object_not_found
    │   ├── ObjectTooLarge           object_too_large
    │   ├── TypeNotAllowed           type_not_allowed
    │   ├── UploadNotFound           upload_not_found
    │   ├── StorageRefused           storage_refused
    │   └── StorageUnavailable       storage_unavailable      (retryable)
    ├── IntegrityError               the bytes are not the bytes
    │   ├── TransitCorruption        transit_corruption       (retryable)
    │   ├── ChecksumMismatch         checksum_mismatch
    │   ├── ObjectChanged            object_changed
    │   └── ExpansionTooLarge        expansion_too_large
    ├── MediaError                   what the file is, or should be
    │   ├── UnsupportedType          unsupported_type
    │   ├── DamagedFile              damaged_file
    │   ├── TooManyPixels            too_many_pixels
    │   ├── DecoderStopped           decoder_stopped
    │   └── CompressionStopped       compression_stopped
    └── TransferError                the transfer as a whole
        ├── TransferCancelled        transfer_cancelled
        ├── TooManyAttempts          too_many_attempts
        ├── QuotaExceeded            quota_exceeded
        ├── DeadlineExceeded         deadline_exceeded        (retryable)
        ├── FleetUnavailable         fleet_unavailable        (retryable)
        └── InternalError            internal_error           (retryable)

`code` is stable and is what rows, metrics and other languages use. `retryable`
says whether the same call may succeed later. `retry_after` (seconds) is what
the server asked for, if it asked.
"""

from __future__ import annotations

from typing import ClassVar

from argosy.redaction import redact


class Error(Exception):
    """Base of all. The message names the file and says what to do.

    Built from positional arguments alone, so that Celery can carry one
    through a JSON result and rebuild it on the other side.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        transfer_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        message = redact(message)  # it goes into rows, results and logs
        super().__init__(message, transfer_id, retry_after)
        self.message = message
        self.transfer_id = transfer_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def about(self, transfer_id: str) -> Error:
        """The same error, naming the transfer it ended."""
        return type(self)(self.message, transfer_id, self.retry_after)


class RequestError(Error):
    """The request itself is wrong."""

    code = "request_error"


class InvalidRequest(RequestError):
    """An argument has the wrong type or a value out of range."""

    code = "invalid_request"


class IdempotencyConflict(RequestError):
    """The idempotency key, or the task id, was used for a different request."""

    code = "idempotency_conflict"


class InvalidReference(RequestError):
    """A file reference lacks a field, has a wrong one, or an unknown version."""

    code = "invalid_reference"


class InvalidMessage(RequestError):
    """A message between agents is no JSON, too large, or names too many files."""

    code = "invalid_message"


class InvalidState(RequestError):
    """The transfer is in a state in which this cannot be done: it has ended, or was not begun."""

    code = "invalid_state"


class TransferNotFound(RequestError):
    """There is no transfer of that id, or it is not the agent's to look at."""

    code = "transfer_not_found"


class SourceError(Error):
    """The file to send."""

    code = "source_error"


class SourceOutsideSpool(SourceError):
    """The path leads out of every spool folder, or crosses a symbolic link."""

    code = "source_outside_spool"


class SourceMissing(SourceError):
    """There is no such file."""

    code = "source_missing"


class SourceNotAFile(SourceError):
    """A directory, device, socket or FIFO."""

    code = "source_not_a_file"


class SourceUnreadable(SourceError):
    """The worker may not read it, or the disk fails."""

    code = "source_unreadable"


class SourceChanged(SourceError):
    """The file was written, cut or replaced while it was read."""

    code = "source_changed"


class DestinationError(Error):
    """The file to write."""

    code = "destination_error"


class DestinationOutsideSpool(DestinationError):
    """The path leads out of every spool folder, or crosses a symbolic link."""

    code = "destination_outside_spool"


class DestinationExists(DestinationError):
    """Something has that name already; Argosy never overwrites."""

    code = "destination_exists"


class DestinationUnwritable(DestinationError):
    """Its folder is missing or not writable."""

    code = "destination_unwritable"


class DiskFull(DestinationError):
    """There is no room for the file."""

    code = "disk_full"


class AccessError(Error):
    """Who asks."""

    code = "access_error"


class NotSignedIn(AccessError):
    """The request carries no access token."""

    code = "not_signed_in"


class InvalidToken(AccessError):
    """The access token is forged, malformed, expired or of another project."""

    code = "invalid_token"


class AccessDenied(AccessError):
    """Row-level security, or the fleet, refused."""

    code = "access_denied"


class StorageError(Error):
    """What Supabase Storage answered."""

    code = "storage_error"


class BucketNotFound(StorageError):
    """There is no such bucket."""

    code = "bucket_not_found"


class ObjectNotFound(StorageError):
    """There is no such object, or the agent may not read it: Storage does not tell."""

    code = "object_not_found"


class ObjectTooLarge(StorageError):
    """Over the size limit of the bucket or of the project."""

    code = "object_too_large"


class TypeNotAllowed(StorageError):
    """The bucket does not take this content type."""

    code = "type_not_allowed"


class UploadNotFound(StorageError):
    """The multipart upload was completed, aborted, or never was."""

    code = "upload_not_found"


class StorageRefused(StorageError):
    """Any other answer that repeating the request would not change."""

    code = "storage_refused"


class StorageUnavailable(StorageError):
    """Not reached, cut off, too slow, overloaded, or a gateway answered for it."""

    code = "storage_unavailable"
    retryable = True
    away = False
    """Whether nobody may have been served: it was not reached, or answered with a 5xx."""


class IntegrityError(Error):
    """The bytes are not the bytes."""

    code = "integrity_error"


class TransitCorruption(IntegrityError):
    """Storage's MD5 of a body differs from that of the bytes sent."""

    code = "transit_corruption"
    retryable = True


class ChecksumMismatch(IntegrityError):
    """The whole file does not have the promised checksum or size."""

    code = "checksum_mismatch"


class ObjectChanged(IntegrityError):
    """The object was replaced while it was read."""

    code = "object_changed"


class ExpansionTooLarge(IntegrityError):
    """Compressed bytes come to more than they declare, or than may be."""

    code = "expansion_too_large"


class MediaError(Error):
    """What the file is, or should be."""

    code = "media_error"


class UnsupportedType(MediaError):
    """The bytes are of a type from which this is not made."""

    code = "unsupported_type"


class DamagedFile(MediaError):
    """The bytes are cut short, or not what their type says."""

    code = "damaged_file"


class TooManyPixels(MediaError):
    """The picture is larger than the fleet decodes."""

    code = "too_many_pixels"


class DecoderStopped(MediaError):
    """The decoder needed more memory or time than it may have, or died."""

    code = "decoder_stopped"


class CompressionStopped(MediaError):
    """A compressed copy would have taken a worker longer than it may; the file is what it was."""

    code = "compression_stopped"


class TransferError(Error):
    """The transfer as a whole."""

    code = "transfer_error"


class TransferCancelled(TransferError):
    """Somebody cancelled it."""

    code = "transfer_cancelled"


class TooManyAttempts(TransferError):
    """One step failed again and again; the last error is in the message."""

    code = "too_many_attempts"


class QuotaExceeded(TransferError):
    """The agent has as many bytes in Storage, or has moved as many today, as it may."""

    code = "quota_exceeded"


class DeadlineExceeded(TransferError):
    """The call took longer than its caller allowed. What was moved is kept for the next try."""

    code = "deadline_exceeded"
    retryable = True


class FleetUnavailable(TransferError):
    """The broker or the result store was not reached, or the fleet did not answer."""

    code = "fleet_unavailable"
    retryable = True


class InternalError(TransferError):
    """The fleet met something it was not made for; its log has the details."""

    code = "internal_error"
    retryable = True


def _tree(root: type[Error]) -> dict[str, type[Error]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


BY_CODE: dict[str, type[Error]] = _tree(Error)
"""Every class by its code: how a row's recorded error becomes an exception again."""
