"""Requests from agents, checked once, at the door."""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import PurePosixPath
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from argosy.errors import InvalidReference, InvalidRequest
from argosy.reference import FileReference, is_storable
from models import Kind

Path = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^/[^\x00]*$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00/]+$")]
Bucket = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
ContentType = Annotated[
    str,
    StringConstraints(
        max_length=200, pattern=r"^[A-Za-z0-9_.+-]+/[A-Za-z0-9_.+-]+(; ?[A-Za-z0-9_.+=\"-]+)*$"
    ),
]
Key = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class Request(BaseModel):
    """What every request has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    idempotency_key: Key | None = None

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if not is_storable(self.model_dump_json()):
            raise ValueError("U+0000 is not allowed")
        return self

    def fingerprint(self) -> str:
        """SHA-256 of what was asked: the same request twice is the same request."""
        asked = self.model_dump_json(by_alias=True, exclude={"idempotency_key"})
        return hashlib.sha256(asked.encode()).hexdigest()


class UploadRequest(Request):
    """`transfer.upload`."""

    source: Path
    bucket: Bucket
    name: Name | None = None
    content_type: ContentType | None = None

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
        guess = mimetypes.guess_type(self.real_name, strict=False)[0]
        return self.content_type or guess or "application/octet-stream"


class DownloadRequest(Request):
    """`transfer.download`."""

    reference: Annotated[FileReference, Field(strict=False)]
    destination: Path

    @property
    def kind(self) -> Kind:
        """Which way the bytes go."""
        return Kind.DOWNLOAD


RequestT = TypeVar("RequestT", bound=Request)


def parse(kind: type[RequestT], **arguments: Any) -> RequestT:
    """Check the arguments of a request.

    Raises InvalidRequest, naming the first one that is wrong; InvalidReference
    where it is in a reference.
    """
    try:
        return kind(**arguments)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "list"
        wrong = InvalidReference if where.startswith("reference") else InvalidRequest
        raise wrong(f"Argument {where}: {first['msg']}.") from None
