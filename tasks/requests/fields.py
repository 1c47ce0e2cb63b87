"""What may stand in the fields of several requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from argosy.fields import AGENT_NAME

Path = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^/[^\x00]*$")]
Grantee = Annotated[
    str,
    StringConstraints(pattern=f"^(role:(admin|worker|reader)|{AGENT_NAME})$"),
]
Grantees = Annotated[tuple[Grantee, ...], Field(strict=False, max_length=100)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
MAX_DAYS = 10 * 365
