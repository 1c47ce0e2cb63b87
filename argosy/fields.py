"""What may be said of a file: the same rules for the fleet's door and for the client."""

from __future__ import annotations

import mimetypes
from typing import Annotated

from pydantic import StringConstraints

FileName = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00/]+$")]
"""A file's name for people, any Unicode."""
AGENT_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
AgentName = Annotated[str, StringConstraints(pattern=f"^{AGENT_NAME}$")]
Bucket = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
ContentType = Annotated[
    str,
    StringConstraints(
        max_length=200, pattern=r"^[A-Za-z0-9_.+-]+/[A-Za-z0-9_.+-]+(; ?[A-Za-z0-9_.+=\"-]+)*$"
    ),
]
MetadataName = Annotated[
    str, StringConstraints(max_length=100, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
]
Metadata = dict[MetadataName, str]
"""What an agent says of its own file."""


def type_of(name: str) -> str:
    """The content type that a file's name speaks of."""
    return mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"
