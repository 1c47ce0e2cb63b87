"""What is known of a stored file, and of a transfer on its way."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from argosy.description import own_metadata
from argosy.errors import InternalError, InvalidReference
from argosy.reference import FileReference
from argosy.storage.control import ListedObject
from argosy.storage.s3 import ObjectHead


@dataclass(frozen=True)
class FileInfo:
    """One stored file; sizes in bytes, times in UTC.

    What only the object's metadata says (`name`, `owner`, the checksums, `encoding`,
    `metadata`) is empty or None in a listing, and for an object that Argosy did not store.
    `size` is the file's, and `stored_size` the object's, which is another one where the file
    is stored with an `encoding`; a listing knows only of objects, and says theirs in both.
    """

    bucket: str
    path: str
    size: int | None
    etag: str
    content_type: str
    modified_at: datetime
    name: str
    transfer: UUID | None = None
    owner: UUID | None = None
    sha256: str | None = None
    md5: str | None = None
    expires_at: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    stored_size: int | None = None
    stored_sha256: str | None = None
    stored_md5: str | None = None

    @classmethod
    def of_listed(cls, bucket: str, found: ListedObject) -> Self:
        """A line of a listing."""
        return cls(
            bucket=bucket,
            path=found.key,
            size=found.size,
            etag=found.etag,
            content_type=found.content_type,
            modified_at=found.updated_at,
            name=found.key.rpartition("/")[2],
            stored_size=found.size,
        )

    @classmethod
    def of_head(cls, bucket: str, path: str, head: ObjectHead) -> Self:
        """All that Storage says of one object."""
        said = head.metadata
        encoding = said.get("encoding")
        return cls(
            bucket=bucket,
            path=path,
            size=_count(said.get("size")) if encoding else head.size,
            etag=head.etag,
            content_type=head.content_type,
            modified_at=head.last_modified,
            name=said.get("name") or path.rpartition("/")[2],
            transfer=_uuid(said.get("transfer")),
            owner=_uuid(said.get("owner")),
            sha256=said.get("sha256"),
            md5=said.get("md5"),
            expires_at=_moment(said.get("expires-at")),
            metadata=own_metadata(said),
            encoding=encoding,
            stored_size=head.size,
            stored_sha256=said.get("stored-sha256"),
            stored_md5=said.get("stored-md5"),
        )

    def reference(self) -> FileReference:
        """The file's reference. Raises InvalidReference where no checksum is known."""
        if not (self.sha256 and self.owner and self.transfer and self.size is not None):
            raise InvalidReference(
                f"{self.bucket}/{self.path} has no checksum of Argosy's with it: it was stored by "
                "other means, or its upload has just ended. Ask its owner for a reference."
            )
        return FileReference.parse(
            {
                "schema": "argosy.file/v1",
                "id": self.transfer,
                "bucket": self.bucket,
                "path": self.path,
                "name": self.name,
                "size": self.size,
                "content_type": self.content_type,
                "sha256": self.sha256,
                "md5": self.md5,
                "owner": self.owner,
                "created_at": self.modified_at,
                "expires_at": self.expires_at,
                "chunk_size": self.stored_size if self.encoding else self.size,
                "chunk_count": 1,
                "metadata": dict(self.metadata),
                **self._encoded(),
            }
        )

    def _encoded(self) -> dict[str, Any]:
        """What a reference says of how the file is stored."""
        if not self.encoding:
            return {}
        size, sha256, md5 = self.stored_size, self.stored_sha256, self.stored_md5
        return {
            "encoding": self.encoding,
            "stored": {"size": size, "sha256": sha256, "md5": md5},
        }

    def document(self) -> dict[str, Any]:
        """As plain JSON types."""
        plain: dict[str, Any] = dict(vars(self))
        for name, value in plain.items():
            if isinstance(value, datetime):
                plain[name] = value.isoformat()
            elif isinstance(value, UUID):
                plain[name] = str(value)
        return {**plain, "metadata": dict(self.metadata)}


class Parts(BaseModel):
    """How many parts of a transfer are where."""

    model_config = ConfigDict(frozen=True)

    stored: int = 0
    moving: int = 0
    queued: int = 0
    waiting: int = 0
    total: int = 0


class Failure(BaseModel):
    """Why a transfer ended."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str


class Tombstone(BaseModel):
    """What became of a file that is gone: `why` is `expired` or `deleted`, `bytes` were freed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: datetime
    why: str
    by: str
    objects: int = 0
    bytes: int = 0


class DeadLetter(BaseModel):
    """A message that the broker gave up: which task, in which queue, when and why."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    at: datetime
    task: str | None = None
    queue: str
    reason: str


class Status(BaseModel):
    """Where a transfer of the fleet is. `waits` says in sentences what it waits for.

    `retried_as` is the transfer that does it over again, `dead_letters` are the latest of its
    messages that the broker gave up: what they were for is sent again by the fleet itself.
    Sizes are bytes, `rate` bytes a second, times UTC.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: UUID
    kind: str
    state: str
    name: str
    bucket: str
    path: str
    agent: str | None = None
    size: int | None = None
    bytes_done: int = 0
    rate: float | None = None
    eta_seconds: float | None = None
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    expires_at: datetime | None = None
    attempts: int = 0
    parts: Parts = Parts()
    waits: tuple[str, ...] = ()
    error: Failure | None = None
    reference: dict[str, Any] | None = None
    tombstone: Tombstone | None = None
    retry_of: UUID | None = None
    retried_as: UUID | None = None
    dead_letters: tuple[DeadLetter, ...] = ()

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Read what the fleet has answered. Raises InternalError when it is no status."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise InternalError(f"The fleet's answer is no transfer's status: {error}") from None


class Usage(BaseModel):
    """What an agent takes up, and what it may: bytes, `rate` in bytes a second.

    `stored` is in Storage or on its way there, with what was made of it; `day` was moved in the
    last 24 hours. A limit that is None is none; of `at_once`, the number of transfers that the
    fleet carries at the same time, it is the agent's fair share, by its `weight`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    stored: int
    stored_limit: int | None = None
    day: int
    day_limit: int | None = None
    at_once: int | None = None
    rate: int | None = None
    weight: int = 1

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Read what the fleet has answered. Raises InternalError when it is no usage."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise InternalError(f"The fleet's answer is no agent's usage: {error}") from None


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None


def _count(text: str | None) -> int | None:
    """A size; None for what is none, which nobody of ours has written."""
    return int(text) if text and re.fullmatch("[0-9]{1,15}", text) else None


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None
