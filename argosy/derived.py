"""What was made of a file: thumbnails, a compressed copy; and what could not be made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from argosy.wording import Allowed

Sha256 = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Allowed("give 64 digits of 0-9 and a-f")
]
Md5 = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{32}$"), Allowed("give 32 digits of 0-9 and a-f")
]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00]*$")]
Encoding = Literal["zstd", "gzip"]
"""How bytes are stored that are not stored as they are."""
Parameter = str | int | bool


class Stored(BaseModel):
    """The bytes as they lie in Storage, where they are not the file's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(ge=0)
    sha256: Sha256
    md5: Md5 | None = None


class Derived(BaseModel):
    """One thing that was made of a file, or was not; `reason` says why not.

    What was made lies beside its file, in the same bucket, under `path`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["thumbnail", "compress"]
    state: Literal["made", "failed", "skipped"]
    parameters: dict[str, Parameter] = Field(default_factory=dict)
    path: Text | None = None
    content_type: Text | None = None
    size: int | None = Field(None, ge=0)
    sha256: Sha256 | None = None
    width: int | None = None
    height: int | None = None
    reason: Text | None = None
