"""Where a file is, as a request says it: by a reference, or by the name of its object."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)

from argosy.errors import InvalidReference
from argosy.fields import Bucket
from argosy.reference import FileReference
from argosy.wording import Allowed, in_words

ObjectPath = Annotated[
    str,
    StringConstraints(max_length=1024, pattern=r"^[^\x00]*$"),
    Allowed("give a path of at most 1,024 characters, without U+0000"),
]


class Place(BaseModel):
    """An object by its name, or a folder: its path then ends with a slash."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bucket: Bucket
    path: ObjectPath

    @model_validator(mode="after")
    def _check_path(self) -> Self:
        segments = self.path.removesuffix("/").split("/") if self.path else ["whole bucket"]
        if {"", ".", ".."} & set(segments):
            raise ValueError("path has an empty, . or .. segment")
        return self


def _kind_of_file(file: Any) -> str:
    is_reference = isinstance(file, FileReference) or (
        isinstance(file, dict) and not file.keys() <= {"bucket", "path"}
    )
    return "reference" if is_reference else "place"


Reference = Annotated[FileReference, Field(strict=False)]
File = Annotated[
    Annotated[Reference, Tag("reference")] | Annotated[Place, Field(strict=False), Tag("place")],
    Discriminator(_kind_of_file),
]


def check_place(file: FileReference | Place) -> None:
    """What is in a reference is anybody's word: it must name a place like any other."""
    try:
        Place(bucket=file.bucket, path=file.path)
    except ValidationError as error:
        said = in_words(error.errors(include_url=False)[0])
        raise InvalidReference(f"This reference names no file of the fleet: {said}.") from None
