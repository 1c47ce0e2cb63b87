"""Requests to enter a file in the books that its agent has stored itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints, field_validator

from argosy.reference import FileReference
from argosy.wording import Allowed
from tasks.requests.description import BY_THE_FLEET, checked
from tasks.requests.fields import Grantees
from tasks.requests.stored import ReferenceRequest

Etag = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$"),
    Allowed("give the ETag that Storage answered"),
]


class RegisterRequest(ReferenceRequest):
    """`transfer.register`; `etag` is what Storage answered when the file was complete."""

    # Nor is it another request for what the fleet says itself: it may be a second try.
    NOT_ASKED: ClassVar[Mapping[str, Any]] = {"reference": BY_THE_FLEET}

    etag: Etag
    share_with: Grantees = ()

    @field_validator("reference")
    @classmethod
    def _check_reference(cls, file: FileReference) -> FileReference:
        return checked(file, "registered")
