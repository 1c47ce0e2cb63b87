"""Batches of rows that are locked and then changed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select


def at_once(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """The rows of a query with LIMIT and FOR UPDATE SKIP LOCKED, for `x IN (...)`.

    As a plain subquery PostgreSQL may run it once for each row that it compares; then it
    locks other rows each time, and more than the limit are changed.
    """
    batch = query.cte()
    return select(*batch.c)
