"""What Flower's pages say of a task: the file, its size and whose it is, and no secret."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from argosy.redaction import learn, redact, secrets_in
from argosy.settings import FleetSettings
from models import Agent, Transfer
from models.database import make_engine, make_sessions

log = structlog.get_logger(__name__)

REMEMBERED = 10_000
"""Transfers whose words are kept in memory."""
AWAY_SECONDS = 30
"""How long the database is not asked again, once it has not answered: pages must not wait."""
LONGEST_NAME = 60
LONGEST = 200
"""Characters of arguments that no transfer is known to."""
_IDS = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PART = re.compile(r"[(\[]'[0-9a-f-]{36}', (\d+)[)\]]")
"""The arguments of a chunk: its transfer and its number."""

_NONE = ("()", "{}")


class Told:
    """Finds the transfer that a task is about, and says what it is."""

    def __init__(self, settings: FleetSettings) -> None:
        learn(secrets_in(settings))
        self._sessions = make_sessions(make_engine(settings.database_url))
        self._words: OrderedDict[UUID, str] = OrderedDict()
        self._away_until = 0.0

    def shown(self, task: Any) -> Any:
        """Flower's own copy of a task, with words in place of the arguments."""
        said = str(task.args or ""), str(task.kwargs or "")
        about = self._about([task.uuid or "", *_IDS.findall("".join(said))])
        part = _PART.search(said[0])
        if about:
            task.args = f"part {part[1]}: {about}" if part and int(part[1]) else about
            task.kwargs = ""
        else:
            task.args, task.kwargs = ("" if one in _NONE else _safe(one) for one in said)
        task.result = _safe(task.result) if task.result else task.result
        return task

    def _about(self, named: list[str]) -> str | None:
        """By its own id, which is that of the transfer it asked for, or one that it names."""
        ids = [UUID(one) for one in dict.fromkeys(named) if _IDS.fullmatch(one)][:3]
        if not any(one in self._words for one in ids):
            self._look_up(ids)
        return next((self._words[one] for one in ids if one in self._words), None)

    def _look_up(self, ids: list[UUID]) -> None:
        if not ids or time.monotonic() < self._away_until:
            return
        query = select(Transfer.id, Transfer.name, Transfer.size, Agent.name.label("agent"))
        about = query.join(Agent, Agent.id == Transfer.agent_id).where(Transfer.id.in_(ids))
        try:
            with self._sessions.begin() as session:
                rows = session.execute(about).all()
        except SQLAlchemyError as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            log.warning("flower.without_database", error=type(error).__name__)
            return
        for row in rows:
            if row.size is not None:  # before it is planned, its size is not known
                self._words[row.id] = _words(row)
        while len(self._words) > REMEMBERED:
            self._words.popitem(last=False)


def _words(row: Any) -> str:
    from rich.filesize import decimal

    name = _printable(row.name)
    short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return f"{short}, {decimal(row.size)}, of {_printable(row.agent)}, {str(row.id)[:8]}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


def _safe(said: Any) -> str:
    text = _printable(redact(str(said)))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
