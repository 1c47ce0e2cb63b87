"""Names: what Storage takes as an object's name, for any name a file may have."""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID

MAX_SAFE_NAME = 120
_REFUSED = re.compile(r"[^A-Za-z0-9!\-.*'()_ ]+")


def safe_name(name: str) -> str:
    """A readable ASCII name that every Storage accepts; the real one is metadata.

    Keeps the extension, is never empty, hidden or a dot segment, and is at most
    120 characters: with the ids before it a key stays far below 1,024 bytes.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    clean = _REFUSED.sub("_", plain).strip(" ._") or "file"
    stem, dot, extension = clean.rpartition(".")
    if not dot or len(extension) > 16:
        return clean[:MAX_SAFE_NAME].rstrip(" .")
    return f"{stem[: MAX_SAFE_NAME - len(extension) - 1].rstrip(' .') or 'file'}.{extension}"


def object_name(agent_id: UUID, transfer_id: UUID, name: str) -> str:
    """`<agent id>/<transfer id>/<safe name>`."""
    return f"{agent_id}/{transfer_id}/{safe_name(name)}"
