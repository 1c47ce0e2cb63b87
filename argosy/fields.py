"""What may be said of a file: the same rules for the fleet's door and for the client."""

from __future__ import annotations

import mimetypes
from typing import Annotated

from pydantic import StringConstraints

from argosy.wording import Allowed

FileName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00/]+$"),
    Allowed("give a name of 1 to 1,024 characters, without / and without U+0000"),
]
"""A file's name for people, any Unicode."""
AGENT_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
AGENT_NAME_SAID = "up to 63 of a-z, 0-9, dot, hyphen and underscore, the first a letter or a digit"
AgentName = Annotated[
    str,
    StringConstraints(pattern=f"^{AGENT_NAME}$"),
    Allowed(f"give an agent's name: {AGENT_NAME_SAID}"),
]
Bucket = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"),
    Allowed(
        "give a bucket's name: up to 100 letters, digits, dots, hyphens and underscores, the first "
        "a letter or a digit"
    ),
]
ContentType = Annotated[
    str,
    StringConstraints(
        max_length=200, pattern=r"^[A-Za-z0-9_.+-]+/[A-Za-z0-9_.+-]+(; ?[A-Za-z0-9_.+=\"-]+)*$"
    ),
    Allowed("give a media type like text/plain, of at most 200 characters"),
]
MetadataName = Annotated[
    str,
    StringConstraints(max_length=100, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$"),
    Allowed("give a name of up to 100 of a-z and 0-9, with single hyphens between them"),
]
Metadata = dict[MetadataName, str]
"""What an agent says of its own file."""


def type_of(name: str) -> str:
    """The content type that a file's name speaks of."""
    return mimetypes.guess_type(name, strict=False)[0] or "application/octet-stream"
