"""Requests to enter a file in the books that its agent has stored itself."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import StringConstraints, field_validator

from argosy.reference import FileReference
from tasks.requests.description import NOT_ASKED, checked
from tasks.requests.fields import Grantees
from tasks.requests.stored import ReferenceRequest

Etag = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]


class RegisterRequest(ReferenceRequest):
    """`transfer.register`; `etag` is what Storage answered when the file was complete."""

    etag: Etag
    share_with: Grantees = ()

    @field_validator("reference")
    @classmethod
    def _check_reference(cls, file: FileReference) -> FileReference:
        return checked(file, "registered")

    def fingerprint(self) -> str:
        """The same, without what the fleet says itself: a second try is the same request."""
        asked = self.model_dump_json(by_alias=True, exclude={"reference": NOT_ASKED})
        return hashlib.sha256(asked.encode()).hexdigest()
