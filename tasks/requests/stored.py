"""What requests about a stored file have in common: they name it by its reference."""

from __future__ import annotations

from pydantic import field_validator

from argosy.reference import FileReference
from tasks.requests.base import Request
from tasks.requests.places import Reference, check_place


class ReferenceRequest(Request):
    """What names a file by its reference, in which anything may stand."""

    reference: Reference

    @property
    def about(self) -> str:
        """The object that is meant."""
        return f"{self.reference.bucket}/{self.reference.path}"


class StoredFileRequest(ReferenceRequest):
    """What names a file by its reference, whose place is one that the fleet may have."""

    @field_validator("reference")
    @classmethod
    def _check_reference(cls, file: FileReference) -> FileReference:
        check_place(file)
        return file
