"""What may stand in the fields of several requests."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints

from argosy.fields import AGENT_NAME
from argosy.given import A_LIST_OF_NAMES
from argosy.wording import Allowed


def _no_text(names: Any) -> Any:
    """A text would be taken for a list of its letters."""
    if isinstance(names, str):
        raise ValueError(A_LIST_OF_NAMES.format(names[:40]))  # noqa: TRY004  as pydantic wants it
    return names


Path = Annotated[
    str,
    StringConstraints(min_length=1, max_length=4096, pattern=r"^/[^\x00]*$"),
    Allowed("give a whole path, from / on, of at most 4,096 characters and without U+0000"),
]
Grantee = Annotated[
    str,
    StringConstraints(pattern=f"^(role:(admin|worker|reader)|{AGENT_NAME})$"),
    Allowed("give an agent's name, or role:admin, role:worker or role:reader"),
]
Grantees = Annotated[
    tuple[Grantee, ...], Field(strict=False, max_length=100), BeforeValidator(_no_text)
]
Key = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$"),
    Allowed("give a text of 1 to 200 characters, without U+0000"),
]
MAX_DAYS = 10 * 365
