"""What is said of an object that is not what its reference promises."""

from __future__ import annotations

from argosy.errors import ChecksumMismatch
from argosy.reference import FileReference


def wrong_size(reference: FileReference, size: int | None = None) -> ChecksumMismatch:
    """The error for an object of another size; `size` is None for one that is larger."""
    found = "more" if size is None else f"{size} bytes"
    return ChecksumMismatch(
        f"{reference.name} has {found} in Storage, its reference says {reference.stored_size} "
        "bytes: ask its owner for a new reference."
    )


def mismatch(reference: FileReference, sha256: str) -> ChecksumMismatch:
    """The error for an object of other bytes."""
    return ChecksumMismatch(
        f"{reference.name} has SHA-256 {sha256} in Storage, its reference says "
        f"{reference.sha256}: ask its owner for a new reference."
    )
