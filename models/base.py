"""What every table shares: the schema, the naming of constraints, the time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

from sqlalchemy import ColumnElement, DateTime, Interval, MetaData, Table, bindparam, func, or_
from sqlalchemy.orm import DeclarativeBase, QueryableAttribute

SCHEMA = "argosy"
NO_SYNC = {"synchronize_session": False, "populate_existing": True}
"""Rows in memory are filled anew from what a statement returns, and not guessed."""


class Base(DeclarativeBase):
    """Declarative base of schema `argosy`."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    type_annotation_map = {datetime: DateTime(timezone=True)}  # noqa: RUF012  SQLAlchemy's own form


def from_now(name: str) -> ColumnElement[Any]:
    """A time from now on; how long from now is the parameter of this name."""
    return func.now() + bindparam(name, type_=Interval())


def is_free(lease_until: QueryableAttribute[datetime | None]) -> ColumnElement[bool]:
    """Nobody has claimed what this is the lease of, or that is over."""
    return or_(lease_until.is_(None), lease_until < func.now())


def table_of(row: type[Base]) -> Table:
    """The table of these rows, for statements that make no objects of what they return."""
    return cast(Table, row.__table__)
