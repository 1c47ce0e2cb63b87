"""What some work in the database costs: its time, and the pages that PostgreSQL looks at for it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session

Work = Callable[[Session], object]
TIMES = 5
_LEFT = ("Filter", "Join Filter", "Index Recheck")


@dataclass(frozen=True)
class Cost:
    """Seconds, in the middle of some; pages and rows that are looked at; tables read whole."""

    seconds: float
    pages: int
    rows: int
    whole: frozenset[str]


def cost_of(engine: Engine, work: Work) -> Cost:
    """Do it some times, and undo it each time."""
    statements = _statements(engine, work)
    seconds = statistics.median(_timed(engine, work) for _ in range(TIMES))
    pages, rows, whole = 0, 0.0, set()
    with _undone(engine) as session:
        for statement, values in statements:
            plan = _explain(session.connection(), statement, values)
            pages += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
            rows += sum(_rows(node) for node in _nodes(plan))
            whole |= {node["Relation Name"] for node in _nodes(plan) if _is_whole(node)}
    return Cost(seconds, pages, round(rows), frozenset(whole))


def _timed(engine: Engine, work: Work) -> float:
    with _undone(engine) as session:
        began = perf_counter()
        work(session)
        session.flush()
        return perf_counter() - began


def _statements(engine: Engine, work: Work) -> list[tuple[str, Any]]:
    """What it says to PostgreSQL, in this order."""
    said: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        said.append((statement, values))

    with _undone(engine) as session:
        event.listen(engine, "before_cursor_execute", note)
        try:
            work(session)
            session.flush()
        finally:
            event.remove(engine, "before_cursor_execute", note)
    return said


@contextmanager
def _undone(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session
        session.rollback()


def _explain(connection: Connection, statement: str, values: Any) -> dict[str, Any]:
    asked = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
    answer = connection.exec_driver_sql(asked, values).scalar_one()
    told = json.loads(answer) if isinstance(answer, str) else answer
    plan: dict[str, Any] = told[0]["Plan"]
    return plan


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


def _is_whole(node: dict[str, Any]) -> bool:
    return bool(node["Node Type"] == "Seq Scan")


def _rows(node: dict[str, Any]) -> float:
    """Those that a node took from a table, or from another node, the ones included that it left."""
    left = (node.get(f"Rows Removed by {why}", 0) for why in _LEFT)
    return float((node["Actual Rows"] + sum(left)) * node["Actual Loops"])
