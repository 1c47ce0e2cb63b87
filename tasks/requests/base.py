"""What every request has in common, and how one is checked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from argosy.errors import InvalidReference, InvalidRequest
from argosy.reference import is_storable
from argosy.wording import in_words
from models import Priority
from tasks.requests.fields import Key

_IN_A_REFERENCE = re.compile(r"(files\.\d+\.|file\.)?reference\b")


class Request(BaseModel):
    """What every request has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    NOT_ASKED: ClassVar[Mapping[str, Any]] = {"idempotency_key": True}
    """What does not make it another request, as pydantic excludes it."""

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if not is_storable(self.model_dump_json()):
            raise ValueError("U+0000 is not allowed")
        return self

    @property
    def about(self) -> str | None:
        """The object that is meant, as the audit names it; None where it has no name yet."""
        return None

    def fingerprint(self) -> str:
        """SHA-256 of what was asked: the same request twice is the same request."""
        asked = self.model_dump_json(by_alias=True, exclude=self.NOT_ASKED)
        return hashlib.sha256(asked.encode()).hexdigest()


class TransferRequest(Request):
    """What moves bytes; the same key of the same agent is the same transfer."""

    idempotency_key: Key | None = None
    # Left out of what was asked where it is the usual one, as older agents do.
    priority: Priority = Field(
        Priority.NORMAL, strict=False, exclude_if=lambda how: how == Priority.NORMAL
    )


RequestT = TypeVar("RequestT", bound=Request)


def parse(kind: type[RequestT], **arguments: Any) -> RequestT:
    """Check the arguments of a request.

    Raises InvalidRequest, naming the first one that is wrong; InvalidReference
    where it is in a reference.
    """
    try:
        return kind(**arguments)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "list"
        wrong = InvalidReference if _IN_A_REFERENCE.match(where) else InvalidRequest
        raise wrong(f"Argument {where}: {in_words(first)}.") from None
