"""The fleet's buckets: policies decide on their objects and on no others."""

from __future__ import annotations

from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base


class Bucket(Base):
    """One bucket. `argosy bootstrap` writes these rows from the settings."""

    __tablename__ = "buckets"

    name: Mapped[str] = mapped_column(primary_key=True)
    retention_days: Mapped[float | None]
