"""Moments at which something can break: around each statement, commit, message and result."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import psycopg
from sqlalchemy import Engine, event


class Killed(BaseException):
    """SIGKILL: nothing of the worker's code runs any more. What was not committed is undone."""


class Breaks(StrEnum):
    """What a fault is."""

    WORKER = "worker"
    CONNECTION = "connection"
    """To the database where a statement or a commit is next, to the broker where a message is."""


@dataclass
class Fault:
    """Something breaks after `after` moments."""

    breaks: Breaks
    after: int

    def is_now(self) -> bool:
        """Whether this is the moment; counts down."""
        self.after -= 1
        return self.after == -1


class Steered(threading.Thread):
    """A thread that faults can be armed for; others run undisturbed."""

    fault: Fault | None = None


def fault_now() -> Breaks | None:
    """What breaks in this thread at this moment, if anything does. Raises Killed."""
    thread = threading.current_thread()
    fault = thread.fault if isinstance(thread, Steered) else None
    if fault is None or not fault.is_now():
        return None
    if fault.breaks == Breaks.WORKER:
        raise Killed
    return fault.breaks


def break_connections(engine: Engine) -> None:
    """Have faults happen before each statement, before each commit, and after it.

    In the last case the commit stands and its answer is lost.
    """

    @event.listens_for(engine, "before_cursor_execute")
    def before_statement(_connection: Any, cursor: Any, *_rest: Any) -> None:
        if fault_now():
            cursor.connection.close()

    commit = engine.dialect.do_commit

    def do_commit(connection: Any) -> None:
        if fault_now():
            connection.dbapi_connection.close()
        commit(connection)
        if fault_now():
            connection.dbapi_connection.close()
            raise psycopg.OperationalError("the answer to the commit was lost")

    engine.dialect.do_commit = do_commit  # type: ignore[method-assign]
