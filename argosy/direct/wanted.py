"""The file that an upload is to make: all that is known of it before its bytes are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from argosy.account import Account
from argosy.derived import Encoding, Stored
from argosy.description import object_metadata
from argosy.errors import InvalidRequest
from argosy.fields import Bucket, ContentType, FileName, Metadata, type_of
from argosy.naming import object_name
from argosy.options import UploadOptions
from argosy.reference import FileReference, is_storable
from argosy.storage.checksum import Checksums
from argosy.storage.metadata import to_headers
from argosy.storage.parts import count_parts

_SAMPLE = Checksums("0" * 64, "0" * 32, 10**13)


class Wanted(BaseModel):
    """A file before it is stored; times in UTC. The fleet's word on when it expires is final.

    With an `encoding` the object has other bytes than the file.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    owner: UUID
    bucket: Bucket
    name: FileName
    content_type: ContentType
    metadata: Metadata
    created_at: datetime
    expires_at: datetime | None
    encoding: Encoding | None = None

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if not is_storable(self.model_dump_json()):
            raise ValueError("U+0000 is not allowed")
        return self

    @classmethod
    def described(
        cls, account: Account, name: str, metadata: Mapping[str, str], options: UploadOptions
    ) -> Self:
        """The file that a caller asks for. Raises InvalidRequest for what cannot be kept."""
        settings, now = account.settings, datetime.now(UTC)
        bucket = options.bucket or settings.bucket
        expires = now + timedelta(days=settings.retention_days)
        return cls._checked(
            id=uuid4(),
            owner=account.agent_id,
            bucket=bucket,
            name=name,
            content_type=options.content_type or type_of(name),
            metadata=dict(metadata),
            created_at=now,
            expires_at=expires if bucket == settings.bucket else None,
        )

    @property
    def path(self) -> str:
        """The object's name."""
        return object_name(self.owner, self.id, self.name)

    def encoded(self, encoding: Encoding | None) -> Self:
        """The same file, to be stored so."""
        return self.model_copy(update={"encoding": encoding})

    def object_metadata(
        self, sums: Checksums | None = None, stored: Checksums | None = None
    ) -> dict[str, str]:
        """What is kept beside the object; of a file in parts the checksums come later.

        `sums` are the file's own; of an encoded one, `stored` are the object's.
        """
        return object_metadata(
            name=self.name,
            owner=self.owner,
            transfer=self.id,
            sha256=sums.sha256 if sums else None,
            md5=sums.md5 if sums else None,
            expires_at=self.expires_at,
            metadata=self.metadata,
            encoding=self.encoding,
            size=sums.size if sums else None,
            stored=_stored(stored) if self.encoding else None,
        )

    def reference(
        self,
        sums: Checksums,
        part_size: int,
        count: int | None = None,
        stored: Checksums | None = None,
    ) -> FileReference:
        """The reference, once the bytes are stored in `count` parts.

        `sums` are the file's own; of an encoded one, `stored` are the object's.
        """
        return FileReference(
            id=self.id,
            bucket=self.bucket,
            path=self.path,
            name=self.name,
            size=sums.size,
            content_type=self.content_type,
            encoding=self.encoding,
            stored=_stored(stored) if self.encoding else None,
            sha256=sums.sha256,
            md5=sums.md5,
            owner=self.owner,
            created_at=self.created_at,
            expires_at=self.expires_at,
            chunk_size=part_size,
            chunk_count=count or count_parts(sums.size, part_size),
            metadata=self.metadata,
        )

    @classmethod
    def _checked(cls, **facts: Any) -> Self:
        try:
            made = cls(**facts)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "text"
            raise InvalidRequest(
                f"The file cannot be described: {where}: {first['msg']}."
            ) from None
        try:
            to_headers(made.encoded("zstd").object_metadata(_SAMPLE, _SAMPLE))
        except InvalidRequest as error:
            raise InvalidRequest(
                f"{made.name[:80]} cannot be described: {error.message}."
            ) from None
        return made


def _stored(sums: Checksums | None) -> Stored | None:
    return Stored(size=sums.size, sha256=sums.sha256, md5=sums.md5) if sums else None
