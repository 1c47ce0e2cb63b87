"""What was asked of the fleet, and what it answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from argosy.errors import BY_CODE
from argosy.reference import FileReference
from tests.deployment import AgentInTest
from tests.faults.harness.cargo import Source

_CODES = {kind.__name__: code for code, kind in BY_CODE.items()}


@dataclass(frozen=True)
class Answer:
    """A result under a task's id: what was acknowledged."""

    ok: bool
    code: str = ""
    """The code of the error."""
    file: FileReference | None = None
    path: str = ""
    """Where a download lies."""
    files: tuple[FileReference | None, ...] = ()
    """What came of a batch: of each file its reference, if it has one."""

    @property
    def brief(self) -> str:
        """In a word, for journal and timeline."""
        return "ok" if self.ok else self.code


def read_answer(meta: Mapping[str, Any]) -> Answer | None:
    """What a decoded result of Celery's says; None while it is none."""
    status, result = meta["status"], meta["result"]
    if status == "FAILURE":
        kind = result.get("exc_type", "") if isinstance(result, dict) else type(result).__name__
        return Answer(False, _CODES.get(kind, kind))
    if status != "SUCCESS":
        return None
    if isinstance(result, dict) and "sha256" in result:
        return Answer(True, file=FileReference.parse(result))
    if isinstance(result, list):
        return Answer(True, files=tuple(map(_file, result)))
    return Answer(True, path=result if isinstance(result, str) else "")


def _file(one: dict[str, Any]) -> FileReference | None:
    return None if "error" in one else FileReference.parse(one)


@dataclass
class Asked:
    """One request. `confirmed` is the broker's word that it has the message."""

    id: str
    load: str
    task: str
    agent: AgentInTest
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    source: Source | None = None
    """What is to come out of it, byte for byte."""
    sources: tuple[Source, ...] = ()
    """The files of a batch, in its order."""
    about: str = ""
    """The object that a deletion is about, or the transfer that is steered."""
    after: str = ""
    """The id of the task before it in a chain."""
    confirmed: bool = False
    is_retried: bool = False
    """Whether it is done over again once it was cancelled: its result is then the new one's."""
    answer: Answer | None = None
    and_then: list[Callable[[Answer], None]] = field(default_factory=list)
    """Who is told of the answer."""

    @property
    def moves(self) -> bool:
        """Whether it is a transfer of its own."""
        return self.makes_a_file or self.task in ("transfer.download", "transfer.upload_many")

    @property
    def makes_a_file(self) -> bool:
        """Whether a file lies in Storage in the end."""
        return self.task in ("transfer.upload", "transfer.copy", "transfer.retry")
