"""Requests from agents, checked once, at the door."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from argosy.derived import Encoding
from argosy.description import object_metadata
from argosy.errors import InvalidReference, InvalidRequest
from argosy.fields import (
    AGENT_NAME,
    AgentName,
    Bucket,
    ContentType,
    FileName,
    Metadata,
    type_of,
)
from argosy.reference import FileReference, is_storable
from argosy.storage.metadata import to_headers
from models import Access, Kind, Priority

Path = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^/[^\x00]*$")]
ObjectPath = Annotated[str, StringConstraints(max_length=1024, pattern=r"^[^\x00]*$")]
Grantee = Annotated[
    str,
    StringConstraints(pattern=f"^(role:(admin|worker|reader)|{AGENT_NAME})$"),
]
Grantees = Annotated[tuple[Grantee, ...], Field(strict=False, max_length=100)]
Etag = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")]
MAX_FILES = 1000
"""Files of one batch."""
MAX_PINNED = 1000
"""Files that one message may pin."""
MAX_DAYS = 10 * 365
MAX_SECONDS = MAX_DAYS * 24 * 3600
_FILE_NAME: TypeAdapter[str] = TypeAdapter(FileName)
Key = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class Request(BaseModel):
    """What every request has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if not is_storable(self.model_dump_json()):
            raise ValueError("U+0000 is not allowed")
        return self

    @property
    def about(self) -> str | None:
        """The object that is meant, as the audit names it; None where it has no name yet."""
        return None

    def fingerprint(self) -> str:
        """SHA-256 of what was asked: the same request twice is the same request."""
        asked = self.model_dump_json(by_alias=True, exclude={"idempotency_key"})
        return hashlib.sha256(asked.encode()).hexdigest()


class TransferRequest(Request):
    """What moves bytes; the same key of the same agent is the same transfer."""

    idempotency_key: Key | None = None
    # Left out of what was asked where it is the usual one, as older agents do.
    priority: Priority = Field(
        Priority.NORMAL, strict=False, exclude_if=lambda how: how == Priority.NORMAL
    )


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
            _check_description(self.real_name, self.metadata)
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
            _check_description(PurePosixPath(source).name, self.metadata)
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


def _check_description(name: str, metadata: Mapping[str, str]) -> None:
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


class DownloadRequest(TransferRequest):
    """`transfer.download`."""

    reference: Annotated[FileReference, Field(strict=False)]
    destination: Path

    @property
    def about(self) -> str:
        """The object that is meant."""
        return f"{self.reference.bucket}/{self.reference.path}"

    @property
    def kind(self) -> Kind:
        """Which way the bytes go."""
        return Kind.DOWNLOAD


class Place(BaseModel):
    """An object by its name, or a folder: its path then ends with a slash."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bucket: Bucket
    path: ObjectPath

    @model_validator(mode="after")
    def _check_path(self) -> Self:
        segments = self.path.removesuffix("/").split("/") if self.path else ["whole bucket"]
        if {"", ".", ".."} & set(segments):
            raise ValueError("path has an empty, . or .. segment")
        return self


def _kind_of_file(file: Any) -> str:
    is_reference = isinstance(file, FileReference) or (
        isinstance(file, dict) and not file.keys() <= {"bucket", "path"}
    )
    return "reference" if is_reference else "place"


File = Annotated[
    Annotated[FileReference, Field(strict=False), Tag("reference")]
    | Annotated[Place, Field(strict=False), Tag("place")],
    Discriminator(_kind_of_file),
]


def check_place(file: FileReference | Place) -> None:
    """What is in a reference is anybody's word: it must name a place like any other."""
    try:
        Place(bucket=file.bucket, path=file.path)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"]
        raise InvalidReference(f"This reference names no file of the fleet: {said}.") from None


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


class DeleteRequest(Request):
    """`transfer.delete`."""

    reference: Annotated[FileReference, Field(strict=False)]

    @property
    def place(self) -> Place:
        """What is meant, unchecked: what is no place is not there."""
        return Place.model_construct(bucket=self.reference.bucket, path=self.reference.path)

    @property
    def about(self) -> str:
        """The object that is meant."""
        return f"{self.reference.bucket}/{self.reference.path}"


class ExtendRequest(DeleteRequest):
    """`transfer.extend`; `days` from now."""

    days: Annotated[float, Field(gt=0, le=MAX_DAYS, allow_inf_nan=False)] | None = None


_NOT_ASKED = {"created_at", "expires_at", "grants", "derivatives"}
_PLAIN: Mapping[str, TypeAdapter[Any]] = {
    "bucket": TypeAdapter(Bucket),
    "name": TypeAdapter(FileName),
    "content_type": TypeAdapter(ContentType),
    "metadata": TypeAdapter(Metadata),
}
"""Fields of a reference that must be as the fleet's own requests have them."""


def _checked(file: FileReference, to_be: str) -> FileReference:
    """Raise InvalidReference for one that the fleet could not have made."""
    check_place(file)
    for name, wanted in _PLAIN.items():
        try:
            wanted.validate_python(getattr(file, name))
        except ValidationError as error:
            said = error.errors(include_input=False, include_url=False)[0]["msg"]
            raise InvalidReference(f"This file cannot be {to_be}: {name}: {said}.") from None
    _check_description(file.name, file.metadata)
    return file


class CopyRequest(TransferRequest):
    """`transfer.copy`, and `transfer.persist`, whose bucket is the fleet's to say."""

    reference: Annotated[FileReference, Field(strict=False)]
    bucket: Bucket | None = None
    name: FileName | None = None
    share_with: Grantees = ()

    @field_validator("reference")
    @classmethod
    def _check_reference(cls, file: FileReference) -> FileReference:
        return _checked(file, "copied")

    @model_validator(mode="after")
    def _check_metadata(self) -> Self:
        _check_description(self.real_name, self.reference.metadata)
        return self

    @property
    def source(self) -> Place:
        """What is to be copied."""
        return Place(bucket=self.reference.bucket, path=self.reference.path)

    @property
    def about(self) -> str:
        """The object that is meant."""
        return f"{self.reference.bucket}/{self.reference.path}"

    @property
    def kind(self) -> Kind:
        """Which way the bytes go."""
        return Kind.COPY

    @property
    def real_name(self) -> str:
        """The copy's name as people know it."""
        return self.name or self.reference.name

    @property
    def target_bucket(self) -> str:
        """Where the copy goes: beside its original, unless it was said."""
        return self.bucket or self.reference.bucket

    def fingerprint(self) -> str:
        """The same, without what may have been learnt of the file meanwhile."""
        asked = self.model_dump_json(
            by_alias=True,
            exclude={"reference": _NOT_ASKED | {"facts"}, "idempotency_key": True},
        )
        return hashlib.sha256(asked.encode()).hexdigest()


class RegisterRequest(Request):
    """`transfer.register`; `etag` is what Storage answered when the file was complete."""

    reference: Annotated[FileReference, Field(strict=False)]
    etag: Etag
    share_with: Grantees = ()

    @field_validator("reference")
    @classmethod
    def _check_reference(cls, file: FileReference) -> FileReference:
        return _checked(file, "registered")

    @property
    def about(self) -> str:
        """The object that is meant."""
        return f"{self.reference.bucket}/{self.reference.path}"

    def fingerprint(self) -> str:
        """The same, without what the fleet says itself: a second try is the same request."""
        asked = self.model_dump_json(by_alias=True, exclude={"reference": _NOT_ASKED})
        return hashlib.sha256(asked.encode()).hexdigest()


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


_IN_A_REFERENCE = re.compile(r"(files\.\d+\.|file\.)?reference\b")
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
        wrong = InvalidReference if _IN_A_REFERENCE.match(where) else InvalidRequest
        raise wrong(f"Argument {where}: {first['msg']}.") from None
