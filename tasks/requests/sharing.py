"""Requests to let others reach a file or a folder, or no longer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from argosy.reference import FileReference
from models import Access
from tasks.requests.base import Request
from tasks.requests.fields import MAX_DAYS, Grantees
from tasks.requests.places import File, Place, check_place

MAX_SECONDS = MAX_DAYS * 24 * 3600


class UnshareRequest(Request):
    """`transfer.unshare`."""

    file: File
    share_with: Annotated[Grantees, Field(min_length=1)]

    @field_validator("file")
    @classmethod
    def _check_place(cls, file: FileReference | Place) -> FileReference | Place:
        check_place(file)
        return file

    @property
    def place(self) -> Place:
        """What is meant; nothing else in a reference counts."""
        return Place(bucket=self.file.bucket, path=self.file.path)

    @property
    def about(self) -> str:
        """The object or folder that is meant."""
        return f"{self.file.bucket}/{self.file.path}"


class ShareRequest(UnshareRequest):
    """`transfer.share`; `seconds` from now the grant ends."""

    access: Annotated[Access, Field(strict=False)] = Access.READ
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)] | None = None
