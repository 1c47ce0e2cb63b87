"""Signs of life of what runs by the clock."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base


class Heartbeat(Base):
    """When a periodic task last ran."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]


def beat(session: Session, name: str) -> None:
    """Note that a periodic task runs now."""
    row = insert(Heartbeat).values(name=name, at=func.now())
    session.execute(row.on_conflict_do_update(index_elements=["name"], set_={"at": func.now()}))
