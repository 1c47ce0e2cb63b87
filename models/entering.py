"""Entering a transfer that is asked for."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Boolean, Interval, bindparam, case, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import ExecutableReturnsRows

from models.base import table_of
from models.transfer import Priority, Transfer
from models.turns import HANDICAPS

_TRANSFERS = table_of(Transfer)


def enter(
    session: Session,
    *,
    priority: Priority,
    begins: bool,
    republish_seconds: float,
    **columns: Any,
) -> Transfer | None:
    """A new row, which has its turn at once if it `begins`; None where there is one like it."""
    asked = {
        "priority": priority,
        "begins": begins,
        "handicap": HANDICAPS[priority],
        "again": timedelta(seconds=republish_seconds),
    }
    added = session.scalars(_entering(tuple(columns)), {**columns, **asked})
    entered: Transfer | None = added.one_or_none()
    return entered


@cache
def _entering(names: tuple[str, ...]) -> ExecutableReturnsRows:
    attributes = Transfer.__mapper__.columns
    given = {
        attributes[name].name: bindparam(name, type_=attributes[name].type)
        for name in (*names, "priority")
    }
    times = {
        "republish_at": func.now() + bindparam("again", type_=Interval()),
        "turn_at": func.now() + bindparam("handicap", type_=Interval()),
        "admitted_at": case((bindparam("begins", type_=Boolean()), func.now())),
    }
    row = insert(_TRANSFERS).values({**given, **times}).on_conflict_do_nothing()
    return select(Transfer).from_statement(row.returning(*_TRANSFERS.c))
