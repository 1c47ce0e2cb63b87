"""What a caller may give: for a file, for a transfer, and of options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from argosy.errors import InvalidReference, InvalidRequest
from argosy.reference import FileReference

ReferenceLike = FileReference | Mapping[str, Any] | str
"""A reference, its JSON document, or `bucket/path`."""
TransferLike = FileReference | UUID | str
"""A transfer's id, or the reference that it gave."""
A_LIST_OF_NAMES = 'give a list of names: ["{}"]'
"""What to say of one name in place of a list."""


def place_of(reference: ReferenceLike) -> tuple[str, str]:
    """The bucket and the path that are meant. Raises InvalidReference."""
    if not isinstance(reference, str):
        found = FileReference.parse(reference)
        return found.bucket, found.path
    bucket, _, path = reference.partition("/")
    if not bucket or not path:
        raise InvalidReference(f"{reference!r} is no file: give a reference, or bucket/path.")
    return bucket, path


def transfer_id_of(transfer: TransferLike) -> UUID:
    """The transfer's id. Raises InvalidReference."""
    if isinstance(transfer, FileReference):
        return transfer.id
    try:
        return UUID(str(transfer))
    except ValueError:
        raise InvalidReference(f"{transfer!r} is no transfer's id.") from None


def check_names(share_with: Sequence[str]) -> None:
    """Raise InvalidRequest for a text where names belong: its letters are none."""
    if isinstance(share_with, str):
        raise InvalidRequest(f"Argument share_with: {A_LIST_OF_NAMES.format(share_with[:40])}.")


def said(**options: Any) -> dict[str, Any]:
    """Those of the options that were said: the others are the fleet's to choose."""
    return {name: value for name, value in options.items() if value}
