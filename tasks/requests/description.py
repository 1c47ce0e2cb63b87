"""What is said of a file: it must be what Storage can keep beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from argosy.description import object_metadata
from argosy.errors import InvalidReference, InvalidRequest
from argosy.fields import Bucket, ContentType, FileName, Metadata
from argosy.reference import FileReference
from argosy.storage.metadata import to_headers
from argosy.wording import in_words
from tasks.requests.places import check_place

BY_THE_FLEET = {"created_at", "expires_at", "grants", "derivatives"}
"""Fields of a reference that the fleet says itself."""
_PLAIN: Mapping[str, TypeAdapter[Any]] = {
    "bucket": TypeAdapter(Bucket),
    "name": TypeAdapter(FileName),
    "content_type": TypeAdapter(ContentType),
    "metadata": TypeAdapter(Metadata),
}
"""Fields of a reference that must be as the fleet's own requests have them."""


def check_description(name: str, metadata: Mapping[str, str]) -> None:
    """Raise InvalidRequest for what Storage could not keep beside the file, or not give back."""
    nobody = UUID(int=0)
    said = object_metadata(
        name=name,
        owner=nobody,
        transfer=nobody,
        sha256="0" * 64,
        md5="0" * 32,
        expires_at=datetime.max.replace(tzinfo=UTC),
        metadata=metadata,
    )
    try:
        to_headers(said)
    except InvalidRequest as error:
        raise InvalidRequest(f"{name[:80]} with its metadata: {error.message}.") from None


def checked(file: FileReference, to_be: str) -> FileReference:
    """Raise InvalidReference for one that the fleet could not have made."""
    check_place(file)
    for name, wanted in _PLAIN.items():
        try:
            wanted.validate_python(getattr(file, name))
        except ValidationError as error:
            said = in_words(error.errors(include_input=False, include_url=False)[0])
            raise InvalidReference(f"This file cannot be {to_be}: {name}: {said}.") from None
    check_description(file.name, file.metadata)
    return file
