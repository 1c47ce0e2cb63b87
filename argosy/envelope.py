"""What a message between agents looks like on its way, and how one is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from argosy.errors import InvalidMessage
from argosy.fields import AgentName
from argosy.reference import FileReference
from argosy.references import MOST, is_reference, read_reference
from argosy.wording import in_words

SCHEMA = "argosy.message/v1"
PREFIX = "argosy.message/"


def _any_version(value: Any) -> Any:
    return read_reference(value) if is_reference(value) else value


Reference = Annotated[FileReference, BeforeValidator(_any_version)]


class Envelope(BaseModel):
    """A message between agents. Exactly one of `body` and `body_reference` is there: a body
    that is too large for the broker travels as a file of JSON.

    `from` is its writer's word: who the broker says has sent it stands in the AMQP
    property `user_id`.
    """

    model_config = ConfigDict(
        frozen=True,
        populate_by_name=True,
        json_schema_extra={"oneOf": [{"required": ["body"]}, {"required": ["body_reference"]}]},
    )

    schema_: Literal["argosy.message/v1"] = Field(alias="schema")
    id: UUID
    sender: AgentName | None = Field(None, alias="from")
    sent_at: AwareDatetime
    body: Any = None
    body_reference: Reference | None = None
    attachments: tuple[Reference, ...] = ()

    @model_validator(mode="after")
    def _check_body(self) -> Self:
        if ("body" in self.model_fields_set) == (self.body_reference is not None):
            raise ValueError("give one of body and body_reference")
        return self


def read_json(data: bytes) -> Any:
    """Read a JSON document. Raises InvalidMessage."""
    if data.count(b"{") + data.count(b"[") > MOST:  # before they take memory
        raise InvalidMessage(f"The document has more than {MOST:,} lists and objects.")
    try:
        return json.loads(data.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise InvalidMessage(f"The message's body is no JSON in UTF-8: {reason[:200]}.") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def read_envelope(document: Any) -> Envelope | None:
    """Read a message; None for a document of another kind, which is nothing but a body.

    Raises InvalidMessage, and InvalidReference for what it holds.
    """
    if not _is_envelope(document):
        return None
    if document["schema"] != SCHEMA:
        raise InvalidMessage(
            f"The message has the schema {document['schema'][:40]!r}, made by another Argosy; "
            f"this one reads {SCHEMA}: upgrade it."
        )
    try:
        return Envelope.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise InvalidMessage(f"This is no {SCHEMA}: {where}: {in_words(first)}.") from None


def _is_envelope(document: Any) -> bool:
    if not isinstance(document, Mapping):
        return False
    schema = document.get("schema")
    return isinstance(schema, str) and schema.startswith(PREFIX)
