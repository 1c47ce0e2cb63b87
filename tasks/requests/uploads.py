"""Requests to store files of the spool."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, field_validator, model_validator

from argosy.derived import Encoding
from argosy.fields import Bucket, ContentType, FileName, Metadata, type_of
from models import Kind
from tasks.requests.base import TransferRequest
from tasks.requests.description import check_description
from tasks.requests.fields import Grantees, Path

MAX_FILES = 1000
"""Files of one batch."""
_FILE_NAME: TypeAdapter[str] = TypeAdapter(FileName)


class UploadRequest(TransferRequest):
    """`transfer.upload`."""

    source: Path
    bucket: Bucket
    name: FileName | None = None
    content_type: ContentType | None = None
    # Left out of what was asked where it is empty: requests of older agents stay the same.
    share_with: Grantees = Field((), exclude_if=lambda names: not names)
    metadata: Metadata = Field(default_factory=dict, exclude_if=lambda said: not said)
    compress: Literal["auto"] | Encoding | None = Field(None, exclude_if=lambda how: how is None)
    process: Literal["auto"] | None = Field(None, exclude_if=lambda what: what is None)

    @model_validator(mode="after")
    def _check_metadata(self) -> Self:
        if self.metadata:
            check_description(self.real_name, self.metadata)
        return self

    @property
    def kind(self) -> Kind:
        """Which way the bytes go."""
        return Kind.UPLOAD

    @property
    def real_name(self) -> str:
        """The file's name as people know it: any Unicode."""
        return self.name or PurePosixPath(self.source).name

    @property
    def media_type(self) -> str:
        """The content type: as given, or by the name."""
        return self.content_type or type_of(self.real_name)


class UploadManyRequest(TransferRequest):
    """`transfer.upload_many`."""

    sources: Annotated[tuple[Path, ...], Field(strict=False, min_length=1, max_length=MAX_FILES)]
    bucket: Bucket
    share_with: Grantees = ()
    metadata: Metadata = Field(default_factory=dict)

    @field_validator("sources")
    @classmethod
    def _check_names(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            try:
                _FILE_NAME.validate_python(PurePosixPath(source).name)
            except ValidationError:
                raise ValueError(f"{source[:80]!r} has no file's name") from None
        return sources

    @model_validator(mode="after")
    def _check_metadata(self) -> Self:
        for source in self.sources if self.metadata else ():
            check_description(PurePosixPath(source).name, self.metadata)
        return self

    @property
    def kind(self) -> Kind:
        """Which way the bytes go."""
        return Kind.BATCH

    @property
    def real_name(self) -> str:
        """What the batch is called."""
        first, others = PurePosixPath(self.sources[0]).name, len(self.sources) - 1
        return f"{first} and {others} more" if others else first
