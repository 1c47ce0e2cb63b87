"""The file reference: what travels over the broker instead of the file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from kombu.utils.json import register_type
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from argosy.derived import Derived, Encoding, Md5, Sha256, Stored, Text
from argosy.errors import InvalidReference
from argosy.facts import Facts
from argosy.wording import in_words

Note = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00]*$")]

MAX_BYTES = 5 * 1024**4
"""S3: an object has at most 5 TiB."""


_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def is_storable(document: str) -> bool:
    """Whether PostgreSQL can keep a JSON text: neither U+0000 nor half a surrogate pair in it."""
    plain = json.dumps(json.loads(document), ensure_ascii=False)
    try:
        plain.encode()
    except UnicodeEncodeError:
        return False
    return _NUL.search(plain) is None


class FileReference(BaseModel):
    """Names one stored file and what its bytes must be. Grants no access by itself.

    Sizes are bytes, times are UTC. `size`, `sha256` and `md5` are of the whole file. Where
    Storage has it compressed, `encoding` says how and `stored` what lies there: every way
    down decodes it. `facts` are there once it was inspected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_: Literal["argosy.file/v1"] = Field("argosy.file/v1", alias="schema")
    id: UUID
    bucket: Text
    path: Text
    name: Text
    size: int = Field(ge=0, le=MAX_BYTES)
    content_type: Text
    encoding: Encoding | None = None
    stored: Stored | None = Field(None, exclude_if=lambda stored: stored is None)
    sha256: Sha256
    md5: Md5 | None = None
    owner: UUID
    created_at: datetime
    expires_at: datetime | None = None
    grants: tuple[Note, ...] = ()
    chunk_size: int = Field(ge=0, le=MAX_BYTES)
    chunk_count: int = Field(ge=1, le=10_000)
    facts: Facts | None = Field(None, exclude_if=lambda facts: facts is None)
    derivatives: tuple[Derived, ...] = ()
    metadata: dict[Note, Note] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_text(self) -> Self:
        if not is_storable(self.model_dump_json()):
            raise ValueError("U+0000 is not allowed")
        if (self.encoding is None) != (self.stored is None):
            raise ValueError("encoding and stored belong together")
        return self

    @property
    def stored_size(self) -> int:
        """Bytes of the object in Storage."""
        return self.stored.size if self.stored else self.size

    @classmethod
    def parse(cls, document: FileReference | Mapping[str, Any]) -> FileReference:
        """Read a reference that came in a message.

        Raises InvalidReference, naming the first field that is wrong.
        """
        if isinstance(document, cls):
            return document
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise InvalidReference(
                f"This is no argosy.file/v1 reference: {where}: {in_words(first)}. "
                "Pass the reference that the upload returned, unchanged."
            ) from None

    def document(self) -> dict[str, Any]:
        """The reference as plain JSON types, fields named as in the published schema."""
        return self.model_dump(mode="json", by_alias=True)


# A plain document, not kombu's typed envelope: a consumer without this library
# would reject a message whose __type__ it does not know.
register_type(FileReference, None, FileReference.document)
