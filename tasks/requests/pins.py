"""Requests to keep files for a message, until it is acknowledged."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, field_validator

from argosy.fields import AgentName
from argosy.reference import FileReference
from tasks.requests.base import Request
from tasks.requests.places import File, Place, check_place

MAX_PINNED = 1000
"""Files that one message may pin."""


class PinRequest(Request):
    """`transfer.pin`: `message` keeps the files until it is unpinned."""

    message: Annotated[UUID, Field(strict=False)]
    files: Annotated[tuple[File, ...], Field(strict=False, max_length=MAX_PINNED)]
    to: AgentName | None = None

    @field_validator("files")
    @classmethod
    def _check_files(
        cls, files: tuple[FileReference | Place, ...]
    ) -> tuple[FileReference | Place, ...]:
        for file in files:
            check_place(file)
            if file.path.endswith("/") or not file.path:
                raise ValueError("a message pins files, and no folder")
        return files

    @property
    def places(self) -> list[Place]:
        """What is meant, each once and in order; nothing else in a reference counts."""
        named = {(file.bucket, file.path) for file in self.files}
        return [Place(bucket=bucket, path=path) for bucket, path in sorted(named)]


class UnpinRequest(Request):
    """`transfer.unpin`."""

    message: Annotated[UUID, Field(strict=False)]
    sender: AgentName | None = None
