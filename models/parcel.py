"""The files of a batch. Each chunk of a batch is a parcel: files that are sent together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Self
from uuid import UUID

from sqlalchemy import ARRAY, ForeignKey, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base

AS_ASKED = 0
"""Number of the parcel that holds all files of a batch until it is planned."""


@dataclass(frozen=True)
class BatchFile:
    """One file of a batch; `id` is that of its own transfer.

    `fingerprint` is what tells whether it was changed since the batch was planned; without one
    it could not be read then, and `code` and `message` say why.
    """

    id: UUID
    path: str
    fingerprint: Mapping[str, int] | None = None
    code: str | None = None
    message: str | None = None

    @property
    def name(self) -> str:
        """Its name for people."""
        return PurePosixPath(self.path).name

    @property
    def size(self) -> int:
        """Bytes; none where it cannot be sent."""
        return self.fingerprint["size"] if self.fingerprint else 0

    def document(self) -> dict[str, Any]:
        """As JSON, without what is not known."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return {**known, "id": str(self.id)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """What `document` made."""
        return cls(**{**document, "id": UUID(document["id"])})


class Parcel(Base):
    """Some files of a batch, and with whom each of them is shared once it is stored."""

    __tablename__ = "parcels"

    transfer_id: Mapped[UUID] = mapped_column(
        ForeignKey("transfers.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True)
    documents: Mapped[list[dict[str, Any]]] = mapped_column("files", JSONB)
    share_with: Mapped[list[str]] = mapped_column(ARRAY(String), server_default="{}")

    @property
    def files(self) -> Sequence[BatchFile]:
        """Its files, in the order in which they were asked for."""
        return [BatchFile.of(document) for document in self.documents]
